"""A Hugging Face folder as a version of a set: converted and pushed part by part, without torch."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tessera import errors
from tessera.client.checkpoint import Stored, read_config, read_json, stored
from tessera.client.sentence_files import read_vectors
from tessera.client.tokenizer_file import read_tokenizer
from tessera.models.config import ModelConfig
from tessera.models.huggingface import catalog
from tessera.models.huggingface.architecture import Architecture
from tessera.models.huggingface.tensors import Entry
from tessera.models.huggingface.tokenizer import vocabulary, with_ids
from tessera.weights.box import Box
from tessera.weights.coordinator import Coordinator
from tessera.weights.manifest import OpenedVersion, TensorSpec, Version
from tessera.weights.push import LocalSlice, push

GROUP = "model"
PUSH_BYTES = 256 << 20
"""How much is converted at a time: what a push holds in memory."""

DTYPES = ("F32", "F16", "BF16", "F64")

Progress = Callable[[int, int], None]
"""Called with bytes done and bytes in all."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A checked folder.

    Args:
        architecture: of its `config.json`.
        config: ours.
        entries: our tensors.
        parts: where their parts are stored, by the entries' names.
        tokenizer: the content of `tokenizer.json`, if it has one.
        notes: what was left out or is not followed, in a sentence each.
    """

    architecture: Architecture
    config: ModelConfig
    entries: Sequence[Entry]
    parts: Mapping[str, Stored]
    tokenizer: bytes | None
    notes: tuple[str, ...]


def read(folder: Path) -> Source:
    """Check a folder; of the weights only the names and shapes are read.

    Raises:
        NotFoundError: NOT_A_CHECKPOINT.
        InvalidArgumentError: UNSUPPORTED_ARCHITECTURE, IMPORT_UNSUPPORTED, PICKLED_WEIGHTS,
            INVALID_CHECKPOINT, INVALID_TOKENIZER or UNSUPPORTED_DTYPE.
        FailedPreconditionError: TOKENIZER_NEEDS_TRANSFORMERS.
    """
    values, generation = read_config(folder), read_json(folder, "generation_config.json") or {}
    architecture, config, unfollowed = catalog.read(values, generation)
    config = read_vectors(folder, config)
    tokenizer = None if config.decoder_vocab_size else read_tokenizer(folder)
    if tokenizer is not None:
        config = with_ids(config, tokenizer)
        _check_vocabulary(config, tokenizer)
    there = stored(folder)
    plan = architecture.plan(config)
    names, dropped = plan.locate(there, architecture.base)
    parts = {name: there[actual] for name, actual in names.items()}
    _check_dtypes(parts)
    _check_shapes(plan.entries, parts)
    notes = [f"{name} was left out: our {config.family} has no place for it" for name in dropped]
    if tokenizer is None:
        notes.append(_no_tokenizer(config))
    return Source(
        architecture=architecture,
        config=config,
        entries=plan.entries,
        parts=parts,
        tokenizer=tokenizer,
        notes=(*notes, *unfollowed),
    )


def commit(  # noqa: PLR0917 - as export's
    coordinator: Coordinator,
    token: str,
    name: str,
    source: Source,
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
    specs = [_spec(entry, source.parts) for entry in source.entries]
    assets = {"config.json": source.config.to_json().encode()}
    if source.tokenizer is not None:
        assets["tokenizer.json"] = source.tokenizer
    labels = {"family": source.config.family, "source": origin}
    grant = coordinator.acquire_writer(name, f"import-{uuid.uuid4().hex[:12]}", 1)
    opened = coordinator.open_version(name, grant.epoch, 0, specs, assets, labels)
    try:
        version = _fill(coordinator, opened, source, token, progress)
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
        parameters=source.config.parameters,
        tensors=len(specs),
        size=sum(spec.size for spec in specs),
        notes=source.notes,
    )


def _fill(
    coordinator: Coordinator,
    opened: OpenedVersion,
    source: Source,
    token: str,
    progress: Progress | None,
) -> Version:
    total, done = sum(spec.size for spec in opened.tensors), 0
    # One push of one rank replaces another; as many ranks each push their part once.
    for rank, batch in enumerate(_batches(source)):
        done += push(opened, rank, batch, token).size
        if progress is not None:
            progress(done, total)
    coordinator.seal_version(opened)
    return coordinator.commit_version(opened)


def _batches(source: Source) -> Iterator[list[LocalSlice]]:
    batch: list[LocalSlice] = []
    size = 0
    for index, entry in enumerate(source.entries):
        for item in _slices(index, entry, source.parts):
            batch.append(item)
            size += item.data.size
            if size >= PUSH_BYTES:
                yield batch
                batch, size = [], 0
    if batch:
        yield batch


def _slices(index: int, entry: Entry, parts: Mapping[str, Stored]) -> Iterator[LocalSlice]:
    """The parts of one tensor, each in its box: what is not turned is not copied either."""
    row = 0
    for name in entry.theirs:
        array = entry.from_theirs(parts[name].read())
        box = Box((row, *[0] * (array.ndim - 1)), array.shape)
        row += len(array)
        data = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        yield LocalSlice(tensor=index, group=GROUP, box=box, data=data)


def _spec(entry: Entry, parts: Mapping[str, Stored]) -> TensorSpec:
    dtype = parts[entry.theirs[0]].dtype
    return TensorSpec(group=GROUP, name=entry.ours, shape=entry.shape, dtype=dtype)


def _no_tokenizer(config: ModelConfig) -> str:
    """Why a version has none, and what that means."""
    if config.decoder_vocab_size:
        return (
            f"the encoder has a vocabulary of {config.vocab_size} tokens, the decoder another one"
            f" of {config.decoder_vocab_size}, and a version holds one tokenizer, so it has none:"
            " send `tokens` of the first, and read the tokens of answers with the second"
        )
    return "there is no tokenizer: the model takes and gives token ids only"


def _check_vocabulary(config: ModelConfig, tokenizer: bytes) -> None:
    tokens = max(vocabulary(tokenizer).values()) + 1
    if tokens > config.vocab_size:
        raise errors.InvalidArgumentError(
            f"tokenizer.json has {tokens} tokens, and the model embeddings of {config.vocab_size}:"
            " they do not belong together; resize the embeddings in transformers"
            " (resize_token_embeddings), or take the tokenizer that it was trained with",
            reason="INVALID_CHECKPOINT",
        )


def _check_dtypes(parts: Mapping[str, Stored]) -> None:
    found = sorted({part.dtype for part in parts.values()})
    if len(found) != 1 or found[0] not in DTYPES:
        raise errors.InvalidArgumentError(
            f"weights of element types {', '.join(found)} cannot be imported; all must be of one of"
            f" {', '.join(DTYPES)}",
            reason="UNSUPPORTED_DTYPE",
        )


def _check_shapes(entries: Sequence[Entry], parts: Mapping[str, Stored]) -> None:
    for entry in entries:
        for name, shape in entry.parts.items():
            if parts[name].shape != shape:
                raise errors.InvalidArgumentError(
                    f"`{name}` is {list(parts[name].shape)}, and a model of this config.json has"
                    f" {list(shape)}: they do not belong together",
                    reason="INVALID_CHECKPOINT",
                )
