"""One ragged column of a table on disk: values in one file, where each row begins in another."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_BUFFER = 1 << 18
"""Values that are written at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A mapped column: row i is `values[offsets[i] : offsets[i + 1]]`."""

    values: NDArray[Any]
    offsets: NDArray[np.int64]

    @classmethod
    def open(cls, path: Path, dtype: str) -> Column:
        """Map what a `ColumnWriter` wrote."""
        return cls(
            values=_mapped(path, np.dtype(dtype)),
            offsets=_mapped(offsets_path(path), np.dtype(np.int64)),
        )

    def row(self, index: int) -> NDArray[Any]:
        """The values of one row, integers as int64."""
        found = self.values[self.offsets[index] : self.offsets[index + 1]]
        return found.astype(np.float32 if found.dtype.kind == "f" else np.int64)


class ColumnWriter:
    """Appends rows; the type of the elements is the smallest that holds all of them.

    Unsigned integers, signed ones if any is negative, float32 if any has a fraction.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lengths = array("q")
        self._buffer: list[NDArray[Any]] = []
        self._buffered = 0
        self._low = self._high = 0
        self._float = False
        self._dtype = np.dtype(np.uint8)
        path.touch()

    def append(self, values: Sequence[float] | NDArray[Any]) -> None:
        """Add one row."""
        self._lengths.append(len(values))
        if len(values):
            self._buffer.append(np.asarray(values))
            self._buffered += len(values)
            if self._buffered >= _BUFFER:
                self._flush()

    def close(self) -> str:
        """Write what is left; returns the type of the elements."""
        self._flush()
        offsets = np.zeros(len(self._lengths) + 1, dtype=np.int64)
        np.cumsum(self._lengths, out=offsets[1:])
        offsets.tofile(offsets_path(self._path))
        return self._dtype.str

    def _flush(self) -> None:
        if not self._buffer:
            return
        values = np.concatenate(self._buffer)
        self._buffer, self._buffered = [], 0
        if values.dtype.kind == "f":
            self._float = True
        else:
            self._low = min(self._low, int(values.min()))
            self._high = max(self._high, int(values.max()))
        self._widen(np.dtype(np.float32) if self._float else _smallest(self._low, self._high))
        with self._path.open("ab") as file:
            values.astype(self._dtype).tofile(file)

    def _widen(self, dtype: np.dtype[Any]) -> None:
        if dtype == self._dtype:
            return
        narrow = _mapped(self._path, self._dtype)
        wide = self._path.with_suffix(".wide")
        with wide.open("wb") as file:
            for at in range(0, len(narrow), _BUFFER):
                narrow[at : at + _BUFFER].astype(dtype).tofile(file)
        wide.replace(self._path)
        self._dtype = dtype


def offsets_path(path: Path) -> Path:
    """Where the rows of the column at `path` begin."""
    return path.with_suffix(".offsets")


def _smallest(low: int, high: int) -> np.dtype[Any]:
    kinds = (np.int8, np.int16, np.int32) if low < 0 else (np.uint8, np.uint16, np.uint32)
    for kind in kinds:
        if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max:
            return np.dtype(kind)
    return np.dtype(np.int64)


def _mapped(path: Path, dtype: np.dtype[Any]) -> NDArray[Any]:
    if not path.stat().st_size:
        return np.empty(0, dtype)
    return np.asarray(np.memmap(path, dtype, "r"))
