"""Samples on disk, memory-mapped, so that the ranks of a host share one copy."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tessera.trainer.data.column import Column, ColumnWriter, offsets_path

Sample = Mapping[str, Sequence[float] | NDArray[Any]]
"""Column to values: integers, or numbers with a fraction."""

_META = "table.json"
_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows of ragged columns; make one with `write` or `open`.

    Args:
        columns: mapped columns by name.
        digest: of everything in it; tells one table from another.
        rows: number of samples.
    """

    columns: Mapping[str, Column]
    digest: str
    rows: int

    @classmethod
    def write(cls, folder: Path, samples: Iterable[Sample]) -> Table:
        """Put samples into a new folder; all have the columns of the first."""
        folder.mkdir(parents=True)
        writers: dict[str, ColumnWriter] = {}
        rows = 0
        for sample in samples:
            if not rows:
                writers = {name: ColumnWriter(folder / f"{name}.values") for name in sample}
            if sample.keys() != writers.keys():
                raise ValueError(f"row {rows} has columns {list(sample)}, not {list(writers)}")
            for name, values in sample.items():
                writers[name].append(values)
            rows += 1
        types = {name: writer.close() for name, writer in writers.items()}
        meta = {"rows": rows, "columns": types, "digest": _digest(folder, types)}
        (folder / _META).write_text(json.dumps(meta))
        return cls.open(folder)

    @classmethod
    def open(cls, folder: Path) -> Table:
        """Map a table that was written; it goes on to work when the folder is deleted."""
        meta = json.loads((folder / _META).read_text())
        return cls(
            columns={
                name: Column.open(folder / f"{name}.values", dtype)
                for name, dtype in meta["columns"].items()
            },
            digest=meta["digest"],
            rows=meta["rows"],
        )

    def __len__(self) -> int:
        return self.rows

    def row(self, index: int) -> dict[str, NDArray[Any]]:
        """One sample: integers as int64, others as float32."""
        return {name: column.row(index) for name, column in self.columns.items()}

    def lengths(self, column: str) -> NDArray[np.int64]:
        """[N] number of values that each row has in a column."""
        return np.diff(self.columns[column].offsets)

    def line(self, column: str) -> NDArray[Any]:
        """[M] the values of all rows, one after another, in the type that they are stored in."""
        return self.columns[column].values


def _digest(folder: Path, types: Mapping[str, str]) -> str:
    digest = hashlib.sha256()
    for name, dtype in sorted(types.items()):
        digest.update(f"{name} {dtype}\n".encode())
        values = folder / f"{name}.values"
        for path in (offsets_path(values), values):
            for block in _blocks(path):
                digest.update(block)
    return digest.hexdigest()[:32]


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            yield block
