"""A model's folder in Hugging Face's form, its weights mapped into memory: numpy only, no torch."""

from __future__ import annotations

import fnmatch
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from tessera import errors
from tessera.client.folder import Folder
from tessera.dtypes import numpy_name
from tessera.models.huggingface.keys import known
from tessera.models.huggingface.statement import Statement
from tessera.models.huggingface.tensors import listed

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
PICKLES = "pytorch_model*.bin*"
_KINDS = (".safetensors", ".safetensors.index.json", ".bin")
"""Endings of the weights of a model or an adapter."""

_FORMS = (".h5", ".msgpack", ".gguf", ".onnx", ".ckpt", ".pt", ".pth", ".safetensors")
"""Endings of files that may hold weights in another form, or under another name."""

_METADATA = known("says who wrote the file", "format", "total_size", "total_parameters")
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


def read_config(folder: Folder) -> Statement:
    """The content of `config.json`.

    Raises:
        NotFoundError: NOT_A_CHECKPOINT.
        InvalidArgumentError: INVALID_CHECKPOINT.
    """
    values = folder.read_object("config.json")
    if values is None:
        within = (path for kind in _KINDS for path in folder.path.glob(f"*/*model*{kind}"))
        models = sorted({path.parent.name for path in within})
        advice = (
            f"but there is a model in {listed(models)}: name that folder"
            if models
            else "name the folder that `save_pretrained` wrote"
        )
        raise errors.NotFoundError(
            f"{folder} has no config.json; {advice}", reason="NOT_A_CHECKPOINT"
        )
    return values


def read_weights(folder: Folder) -> dict[str, Stored]:
    """Every tensor of `model.safetensors`, or of the files that its index names.

    What a file's header says of a tensor that is stored under another name counts too.

    Raises:
        NotFoundError: NOT_A_CHECKPOINT.
        InvalidArgumentError: PICKLED_WEIGHTS, or INVALID_CHECKPOINT.
    """
    tensors: dict[str, Stored] = {}
    for name in _files(folder):
        stored = open_tensors(folder, name)
        twice = sorted(tensors.keys() & stored.keys())
        if twice:
            raise _invalid(f"{folder.path / name} holds {listed(twice)}, as a file before it does")
        tensors.update(stored)
    return tensors


def open_tensors(folder: Folder, name: str) -> dict[str, Stored]:
    """Every tensor of a safetensors file.

    Raises:
        InvalidArgumentError: INVALID_CHECKPOINT.
    """
    path = folder.file(name)
    try:
        # The library checks the header against the file; the numbers are ours to read, since it
        # gives numpy no bfloat16.
        with safe_open(path, framework="np"):
            pass
    except (SafetensorError, OSError) as error:
        raise _invalid(f"{path} is no whole safetensors file: {error}") from None
    file = np.memmap(path, dtype=np.uint8, mode="r")
    start = _LENGTH + int.from_bytes(file[:_LENGTH].tobytes(), "little")
    header: dict[str, Any] = json.loads(file[_LENGTH:start].tobytes())
    metadata = header.pop("__metadata__", None) or {}
    tensors = {
        tensor: Stored(
            dtype=item["dtype"],
            shape=tuple(item["shape"]),
            file=file,
            start=start + item["data_offsets"][0],
            end=start + item["data_offsets"][1],
        )
        for tensor, item in header.items()
    }
    # So safetensors.torch.save_model says which tensor stands for one that it did not write.
    aliases = {one: tensors[kept] for one, kept in metadata.items() if kept in tensors}
    stated = folder.state(f"{name}: __metadata__", metadata)
    stated.know({**_METADATA, **known("a tensor of two names", *aliases)})
    return {**aliases, **tensors}


def _files(folder: Folder) -> list[str]:
    if folder.has(WEIGHTS):
        return [WEIGHTS]
    index = folder.read_object(INDEX)
    if index is not None:
        index.know(known("the files say it", "metadata"))
        names = index.whole("weight_map")
        if not isinstance(names, dict) or not all(isinstance(one, str) for one in names.values()):
            raise _invalid(f"{folder.path / INDEX} has no weight_map")
        shards = sorted({Path(name).name for name in names.values()})
        missing = [name for name in shards if not folder.has(name)]
        if missing:
            raise _invalid(
                f"{folder} lacks {listed(missing)} of the {len(shards)} files that {INDEX} names:"
                " fetch the rest of the model"
            )
        return shards
    if fnmatch.filter(folder.names, PICKLES):
        raise errors.InvalidArgumentError(
            f"{folder} keeps its weights in a pickle, which may run any code when it is read; load"
            " it with transformers and `save_pretrained` it, which writes model.safetensors",
            reason="PICKLED_WEIGHTS",
        )
    others = [name for name in folder.names if name.endswith(_FORMS)]
    advice = (
        f", but {listed(others)}: load that with transformers and `save_pretrained` it"
        if others
        else ""
    )
    raise errors.NotFoundError(f"{folder} has no {WEIGHTS}{advice}", reason="NOT_A_CHECKPOINT")


def _invalid(description: str) -> errors.InvalidArgumentError:
    return errors.InvalidArgumentError(description, reason="INVALID_CHECKPOINT")
