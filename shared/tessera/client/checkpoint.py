"""A model's folder in Hugging Face's form, its weights mapped into memory: numpy only, no torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from tessera import errors
from tessera.weights.dtypes import numpy_name

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
PICKLES = ("pytorch_model.bin", "pytorch_model.bin.index.json")
_LENGTH = 8
"""Bytes that say how long a file's header is."""

Array = NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A tensor in a file.

    Args:
        dtype: element type in safetensors' spelling.
        shape: of the tensor.
        file: all bytes of its file.
        start: of its first byte.
        end: behind its last one.
    """

    dtype: str
    shape: tuple[int, ...]
    file: NDArray[np.uint8]
    start: int
    end: int

    def read(self) -> Array:
        """The elements where they are: only what is looked at is read from the disk."""
        kind = numpy_name(self.dtype)
        return self.file[self.start : self.end].view(kind).reshape(self.shape)


def read_json(folder: Path, name: str) -> Any:
    """The content of a JSON file; None where there is none.

    Raises:
        InvalidArgumentError: INVALID_CHECKPOINT.
    """
    path = folder / name
    if not path.is_file():
        return None
    try:
        return json.loads(path.read_bytes())
    except ValueError as error:
        raise _invalid(f"{path} is no JSON: {error}") from None


def read_config(folder: Path) -> dict[str, Any]:
    """The content of `config.json`.

    Raises:
        NotFoundError: NOT_A_CHECKPOINT.
        InvalidArgumentError: INVALID_CHECKPOINT.
    """
    found = read_json(folder, "config.json")
    if found is None:
        raise errors.NotFoundError(
            f"{folder} has no config.json; name the folder that `save_pretrained` wrote",
            reason="NOT_A_CHECKPOINT",
        )
    if not isinstance(found, dict):
        raise _invalid(f"{folder / 'config.json'} is no object")
    return found


def stored(folder: Path) -> dict[str, Stored]:
    """Every tensor of `model.safetensors`, or of the files that its index names.

    Raises:
        NotFoundError: NOT_A_CHECKPOINT.
        InvalidArgumentError: PICKLED_WEIGHTS, or INVALID_CHECKPOINT.
    """
    found: dict[str, Stored] = {}
    for path in _files(folder):
        found.update(_open(path))
    return found


def _files(folder: Path) -> list[Path]:
    if (folder / WEIGHTS).is_file():
        return [folder / WEIGHTS]
    index = read_json(folder, INDEX)
    if index is not None:
        try:
            names = sorted({Path(name).name for name in index["weight_map"].values()})
        except (TypeError, KeyError, AttributeError):
            raise _invalid(f"{folder / INDEX} has no weight_map") from None
        return [folder / name for name in names]
    if any((folder / name).is_file() for name in PICKLES):
        raise errors.InvalidArgumentError(
            f"{folder} keeps its weights in a pickle, which may run any code when it is read; load"
            " it with transformers and `save_pretrained` it, which writes model.safetensors",
            reason="PICKLED_WEIGHTS",
        )
    raise errors.NotFoundError(f"{folder} has no {WEIGHTS}", reason="NOT_A_CHECKPOINT")


def _open(path: Path) -> dict[str, Stored]:
    try:
        # The library checks the header against the file; the numbers are ours to read, since it
        # gives numpy no bfloat16.
        with safe_open(path, framework="np"):
            pass
    except (SafetensorError, OSError) as error:
        raise _invalid(f"{path} is no whole safetensors file: {error}") from None
    file = np.memmap(path, dtype=np.uint8, mode="r")
    start = _LENGTH + int.from_bytes(file[:_LENGTH].tobytes(), "little")
    header: Mapping[str, Any] = json.loads(file[_LENGTH:start].tobytes())
    return {
        name: Stored(
            dtype=item["dtype"],
            shape=tuple(item["shape"]),
            file=file,
            start=start + item["data_offsets"][0],
            end=start + item["data_offsets"][1],
        )
        for name, item in header.items()
        if name != "__metadata__"
    }


def _invalid(description: str) -> errors.InvalidArgumentError:
    return errors.InvalidArgumentError(description, reason="INVALID_CHECKPOINT")
