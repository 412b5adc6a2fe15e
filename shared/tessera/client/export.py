"""A version as a folder that transformers' `from_pretrained` loads: numpy only, no torch."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import TensorSpec, serialize_file

from tessera import errors
from tessera.dtypes import FLOATS, IN_FILES, library_name, numpy_name
from tessera.models.huggingface.catalog import choose
from tessera.models.huggingface.files import files
from tessera.models.huggingface.kept import read_kept
from tessera.models.huggingface.origin import read_origin
from tessera.models.merge import merge
from tessera.models.registry import load_config
from tessera.rpc.token import Token
from tessera.weights.coordinator import Coordinator
from tessera.weights.manifest import Manifest
from tessera.weights.pull import Want, pull

GROUP = "model"

Array = NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """What was written: the version, its folder, tensors and bytes, and what was left out."""

    set: str
    version: int
    folder: Path
    tensors: int
    size: int
    notes: tuple[str, ...]


def export(
    coordinator: Coordinator,
    token: Token,
    name: str,
    version: int,
    folder: Path,
    *,
    force: bool = False,
) -> Exported:
    """Write a version into a folder, whole or not at all.

    Args:
        coordinator: of the parameter service.
        token: of the caller.
        name: full name of the set.
        version: 0: the newest.
        folder: is made; with `force`, replaced.
        force: replace a folder that is not empty.

    Raises:
        AlreadyExistsError: DIRECTORY_NOT_EMPTY, without `force`.
        NotFoundError: there is no such set or version.
        FailedPreconditionError: EXPORT_UNSUPPORTED: transformers has no such model;
            UNSUPPORTED_DTYPE: safetensors has no such elements, or the weights are of several.
        DataLossError: bytes do not match their checksums.
    """
    _check_target(folder, force=force)
    with coordinator.reading(name, version, (GROUP,), "export") as manifest:
        arrays = _pull(manifest, token)
    content, tensors, dtypes, notes = _convert(manifest, arrays)
    _replace(folder, content, tensors, dtypes)
    size = sum(array.nbytes for array in tensors.values())
    return Exported(
        set=name,
        version=manifest.version.number,
        folder=folder,
        tensors=len(tensors),
        size=size,
        notes=notes,
    )


def _check_target(folder: Path, *, force: bool) -> None:
    if folder.exists() and not folder.is_dir():
        raise errors.AlreadyExistsError(f"{folder} is a file", reason="NOT_A_DIRECTORY")
    if not force and folder.is_dir() and any(folder.iterdir()):
        raise errors.AlreadyExistsError(
            f"{folder} is not empty; name another folder, or replace it with --force",
            reason="DIRECTORY_NOT_EMPTY",
        )


def _pull(manifest: Manifest, token: Token) -> dict[str, Array]:
    specs = [tensor for tensor in manifest.tensors if tensor.group == GROUP]
    buffers = {tensor.name: np.empty(tensor.size, np.uint8) for tensor in specs}
    wants = [
        Want(group=GROUP, name=tensor.name, box=tensor.box, out=buffers[tensor.name])
        for tensor in specs
    ]
    pull(manifest, wants, token)
    return {
        tensor.name: buffers[tensor.name].view(numpy_name(tensor.dtype)).reshape(tensor.shape)
        for tensor in specs
    }


def _convert(
    manifest: Manifest, arrays: Mapping[str, Array]
) -> tuple[dict[str, bytes], dict[str, Array], dict[str, str], tuple[str, ...]]:
    """Files, tensors and what the library calls the element type of each, and notes."""
    config, arrays = merge(load_config(_asset(manifest, "config.json")), arrays)
    tokenizer = manifest.assets.get("tokenizer.json")
    architecture = choose(config)
    plan = architecture.plan(config)
    ours = {tensor.name: tensor.dtype for tensor in manifest.tensors if tensor.group == GROUP}
    buffers = {name: ours[own] for name, own in plan.buffers.items() if own in ours}
    kept_apart = set(plan.buffers.values())
    dtype = _one_dtype({kind for name, kind in ours.items() if name not in kept_apart})
    _check_buffers(buffers)
    tensors = plan.to_theirs(arrays)
    kept, origin = read_kept(manifest.assets), read_origin(manifest.assets, config)
    content = files(architecture, config, tokenizer, library_name(dtype), kept, origin=origin)
    dtypes = {name: library_name(buffers.get(name, dtype)) for name in tensors}
    return content, tensors, dtypes, tuple(architecture.notes(config))


def _one_dtype(found: set[str]) -> str:
    """The element type of the model, which all of its weights share."""
    if len(found) != 1 or not found <= set(FLOATS):
        raise errors.FailedPreconditionError(
            f"a model of element types {', '.join(sorted(found)) or '(none)'} cannot be exported",
            reason="UNSUPPORTED_DTYPE",
        )
    return found.pop()


def _check_buffers(dtypes: Mapping[str, str]) -> None:
    for name, dtype in dtypes.items():
        if dtype not in IN_FILES:
            raise errors.FailedPreconditionError(
                f"`{name}` is of element type {dtype}, which safetensors cannot write",
                reason="UNSUPPORTED_DTYPE",
            )


def _asset(manifest: Manifest, name: str) -> bytes:
    if name not in manifest.assets:
        raise errors.FailedPreconditionError(
            f"version {manifest.version.number} of {manifest.version.set} has no {name}",
            reason="ASSET_MISSING",
        )
    return manifest.assets[name]


def _replace(
    folder: Path,
    content: Mapping[str, bytes],
    tensors: Mapping[str, Array],
    dtypes: Mapping[str, str],
) -> None:
    """Write beside the folder, then put it in its place."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-"))
    try:
        scratch.chmod(0o755)
        for name, data in content.items():
            (scratch / name).parent.mkdir(parents=True, exist_ok=True)
            (scratch / name).write_bytes(data)
        for path in {_path(name) for name in tensors}:
            own = {name: array for name, array in tensors.items() if _path(name) == path}
            _write(scratch / path / "model.safetensors", own, dtypes)
        old = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-old-"))
        try:
            if folder.exists():
                folder.replace(old / folder.name)
            scratch.replace(folder)
        finally:
            shutil.rmtree(old)
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise


def _path(name: str) -> str:
    """The folder of the file that a tensor stands in."""
    return name.rpartition("/")[0]


def _write(path: Path, tensors: Mapping[str, Array], dtypes: Mapping[str, str]) -> None:
    # The library reads the memory itself: `dense` keeps it alive until it has.
    dense = {name: np.asarray(array, order="C") for name, array in tensors.items()}
    specs = {
        name.rpartition("/")[2]: TensorSpec(
            dtype=dtypes[name],
            shape=list(array.shape),
            data_ptr=array.ctypes.data,
            data_len=array.nbytes,
        )
        for name, array in dense.items()
    }
    serialize_file(specs, path, {"format": "pt"})
    path.chmod(0o644)
