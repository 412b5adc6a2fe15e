"""Pieces of other shards that are made durable here, too: taken over from here, or fetched."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tessera import errors
from tessera.parameters.damage import Damage
from tessera.parameters.piece import digest_of
from tessera.parameters.slice_store import Key, SliceStore
from tessera.paths import below
from tessera.weights.blocks import SliceHasher
from tessera.weights.manifest import ShardAddress, SliceSpec
from tessera.weights.strided import Bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedPiece:
    """A piece that a shard is to have: its name, what has to lie in it, and who has it."""

    name: str
    digest: str
    sources: tuple[ShardAddress, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PieceContent:
    """A piece as another shard sends it: its slices, in order, and then their bytes."""

    group: str
    slices: tuple[SliceSpec, ...]
    data: Iterator[Bytes]


Fetch = Callable[[ShardAddress, Key, str], PieceContent]
"""Asks a shard for a piece; closing what it returns ends the stream."""


class Copier:
    """Copies pieces to this shard.

    Args:
        name: of the shard.
        store: what is on its disk.
        fetch: asks another one.
    """

    def __init__(self, name: str, store: SliceStore, fetch: Fetch) -> None:
        self._name = name
        self._store = store
        self._fetch = fetch

    def copy(
        self, key: Key, wanted: Sequence[WantedPiece], tell: Callable[[int], None] = lambda _: None
    ) -> list[Damage]:
        """Make pieces of a version durable; returns those that nobody gave.

        Args:
            key: set and version.
            wanted: all that the shard should have and has not, or has damaged.
            tell: hears how many bytes were copied so far.

        Raises:
            NotFoundError: the version was dropped (VERSION_DROPPED).
        """
        failed, copied = [], 0
        for piece in wanted:
            if (error := self._one(key, piece)) is not None:
                failed.append(
                    Damage(group="", reason=error.reason, text=error.message, piece=piece.name)
                )
            else:
                copied += self._store.piece(key, piece.name).size
                tell(copied)
        if not failed:
            self._store.supersede(key)
        return failed

    def _one(self, key: Key, piece: WantedPiece) -> errors.TesseraError | None:
        """Copy a piece from the first that gives it; returns what the last one said, if none."""
        failure: errors.TesseraError | None = None
        for source in piece.sources:
            try:
                self._from(source, key, piece)
            except (
                errors.DataLossError,
                errors.UnavailableError,
                errors.NotFoundError,
                errors.DeadlineExceededError,
            ) as error:
                if error.reason == "VERSION_DROPPED":
                    raise
                failure = error
            else:
                return None
        return failure

    def _from(self, source: ShardAddress, key: Key, piece: WantedPiece) -> None:
        content = self._fetch(source, key, piece.name)
        path = below(self._store.folder(key), f"{piece.name}.{uuid.uuid4().hex[:8]}.tmp")
        try:
            if digest_of(content.slices) != piece.digest:
                raise errors.DataLossError(
                    f"{source.name} has something else as piece {piece.name} of {key[0]}@{key[1]}",
                    reason="PIECE_MISMATCH",
                )
            slices = [replace(one, shard=self._name) for one in content.slices]
            # Not where it is here already, but damaged: its file may be the other version's, too.
            here = self._store.has(key, piece.name)
            earlier = None if here else self._store.same(key[0], content.slices)
            if earlier is None:
                _write(path, slices, content.data)
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.unlink(missing_ok=True)
                os.link(earlier, path)
            self._store.take_copy(key, piece.name, content.group, slices, path)
        finally:
            content.data.close()  # type: ignore[attr-defined]  # a generator
            path.unlink(missing_ok=True)


def _write(path: Path, slices: Sequence[SliceSpec], data: Iterable[Bytes]) -> None:
    """Put slices where they lie in the piece, durably; each block is held against its checksum.

    Raises:
        DataLossError: the bytes are not those that were written (CHECKSUM_MISMATCH, SHORT_PULL).
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    parts = iter(data)
    rest: Bytes | None = None
    with path.open("wb", buffering=0) as file:
        for source in slices:
            hasher, filled = SliceHasher(source.block_bytes), 0
            file.seek(source.offset)
            while filled < source.size:
                if rest is None or not rest.size:
                    rest = next(parts, None)
                    if rest is None:
                        raise errors.DataLossError("it sent too few bytes", reason="SHORT_PULL")
                part = rest[: source.size - filled]
                hasher.update(part)
                _write_all(file.fileno(), part)
                filled += part.size
                rest = rest[part.size :]
            if hasher.finish() != (source.checksum, source.blocks):
                raise errors.DataLossError(
                    f"piece {source.piece} came damaged", reason="CHECKSUM_MISMATCH"
                )
        os.fsync(file.fileno())


def _write_all(descriptor: int, part: Bytes) -> None:
    left = memoryview(part.data)
    while left:
        left = left[os.write(descriptor, left) :]
