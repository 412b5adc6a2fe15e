"""A Hugging Face folder as a version of a set: converted and pushed part by part, without torch."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from tessera import errors
from tessera.client.blobs import Progress
from tessera.client.checked_folder import CheckedFolder
from tessera.client.pieces import Pieces
from tessera.models.huggingface.tensors import Entry
from tessera.models.tasks import count_parameters
from tessera.rpc.token import Token
from tessera.weights.coordinator import Coordinator
from tessera.weights.local_slice import LocalSlice
from tessera.weights.manifest import OpenedVersion, TensorSpec, Version
from tessera.weights.push import push
from tessera.weights.push_digest import sum_of

GROUP = "model"
PUSH_BYTES = 256 << 20
"""How much is converted at a time: what a push holds in memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """What was committed: the version, what it was made of, and what of that it does not keep."""

    set: str
    version: int
    family: str
    task: str
    architecture: str
    parameters: int
    tensors: int
    size: int
    notes: tuple[str, ...]


def commit(  # noqa: PLR0917 - as export's
    coordinator: Coordinator,
    token: Token,
    name: str,
    source: CheckedFolder,
    origin: str,
    progress: Progress | None = None,
) -> Imported:
    """Write a version of a set, whole or not at all.

    Args:
        coordinator: of the parameter service.
        token: of the caller.
        name: full name of the set.
        source: what to write.
        origin: what the version's label `source` says.
        progress: is told how much is done.

    Raises:
        FailedPreconditionError: another writer took the set meanwhile (FENCED).
        ResourceExhaustedError: it does not fit under the disk cap (DISK_CAP).
    """
    specs = [
        TensorSpec(group=GROUP, name=entry.ours, shape=entry.shape, dtype=source.dtype_of(entry))
        for entry in source.entries
    ]
    assets = {"config.json": source.config.to_json().encode()}
    if source.tokenizer is not None and source.kept is not None:
        assets |= source.kept.assets(source.tokenizer)
    if source.origin is not None:
        assets |= source.origin.assets()
    labels = {"family": source.config.family, "source": origin}
    grant = coordinator.acquire_writer(name, f"import-{uuid.uuid4().hex[:12]}", 1)
    opened = coordinator.open_version(name, grant.epoch, 0, specs, assets, labels)
    pieces = Pieces(source.parts, PUSH_BYTES, source.dtype)
    try:
        version = _fill(coordinator, opened, _batches(source.entries, pieces), token, progress)
    except BaseException:
        with contextlib.suppress(errors.TesseraError):
            coordinator.abort_version(opened)
        raise
    return Imported(
        set=name,
        version=version.number,
        family=source.config.family,
        task=source.config.task.kind,
        architecture=source.architecture.name,
        parameters=count_parameters(source.config),
        tensors=len(specs),
        size=sum(spec.size for spec in specs),
        notes=(*source.notes, *pieces.notes()),
    )


def _fill(
    coordinator: Coordinator,
    opened: OpenedVersion,
    batches: Iterator[list[LocalSlice]],
    token: Token,
    progress: Progress | None,
) -> Version:
    total, done, digest = sum(spec.size for spec in opened.tensors), 0, 0
    # One push of one rank replaces another; as many ranks each push their part once.
    for rank, batch in enumerate(batches):
        report = push(opened, rank, batch, token)
        done, digest = done + report.size, sum_of([digest, report.digest])
        if progress is not None:
            progress(done, total)
    coordinator.seal_version(opened, digest)
    return coordinator.commit_version(opened)


def _batches(entries: Sequence[Entry], pieces: Pieces) -> Iterator[list[LocalSlice]]:
    """All slices, about `PUSH_BYTES` at a time."""
    batch: list[LocalSlice] = []
    size = 0
    for index, entry in enumerate(entries):
        for box, piece in pieces.of(entry):
            data = piece.reshape(-1).view(np.uint8)
            batch.append(LocalSlice(tensor=index, group=GROUP, box=box, data=data))
            size += data.size
            if size >= PUSH_BYTES:
                yield batch
                batch, size = [], 0
    if batch:
        yield batch
