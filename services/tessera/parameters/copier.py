"""Pieces of other shards that are made durable here, too: taken over from here, or fetched."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from tessera import errors
from tessera.parameters.damage import Damage
from tessera.parameters.piece import digest_of
from tessera.parameters.slice_store import Key, SliceStore
from tessera.parameters.vault import NewFile
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
        store: what it has.
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
        file: NewFile | None = None
        try:
            if digest_of(content.slices) != piece.digest:
                raise errors.DataLossError(
                    f"{source.name} has something else as piece {piece.name} of {key[0]}@{key[1]}",
                    reason="PIECE_MISMATCH",
                )
            slices = [replace(one, shard=self._name) for one in content.slices]
            file = self._linked(key, piece.name, content.slices)
            if file is None:
                file = self._store.create(key, piece.name)
                _write(file, slices, content.data)
            self._store.take_copy(key, piece.name, content.group, slices, file)
        finally:
            content.data.close()  # type: ignore[attr-defined]  # a generator
            if file is not None:
                file.discard()

    def _linked(self, key: Key, name: str, slices: Sequence[SliceSpec]) -> NewFile | None:
        """The bytes as another version has them here; None if none has, or they must be fetched."""
        # Not where it is here already, but damaged: its file may be the other version's, too.
        if self._store.has(key, name):
            return None
        earlier = self._store.same(key[0], slices)
        if earlier is None:
            return None
        try:
            return self._store.link(key, name, earlier)
        except OSError:
            return None


def _write(file: NewFile, slices: Sequence[SliceSpec], data: Iterable[Bytes]) -> None:
    """Put slices where they lie in the piece, durably; each block is held against its checksum.

    Raises:
        DataLossError: the bytes are not those that were written (CHECKSUM_MISMATCH, SHORT_PULL).
    """
    parts = iter(data)
    rest: Bytes | None = None
    for source in slices:
        hasher, filled = SliceHasher(source.block_bytes), 0
        while filled < source.size:
            if rest is None or not rest.size:
                rest = next(parts, None)
                if rest is None:
                    raise errors.DataLossError("it sent too few bytes", reason="SHORT_PULL")
            part = rest[: source.size - filled]
            hasher.update(part)
            file.write_at(part, source.offset + filled)
            filled += part.size
            rest = rest[part.size :]
        if hasher.finish() != (source.checksum, source.blocks):
            raise errors.DataLossError(
                f"piece {source.piece} came damaged", reason="CHECKSUM_MISMATCH"
            )
    file.sync()
