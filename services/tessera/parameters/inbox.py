"""Pushes on a shard: who may push, what has arrived, and when it becomes durable."""

from __future__ import annotations

import threading
import uuid
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from tessera import errors
from tessera.parameters.buffers import BufferPool
from tessera.parameters.linked import EarlierVersion, LinkedPiece
from tessera.parameters.pending import ArrivedPiece, PendingPiece
from tessera.parameters.slice_file import SliceFile
from tessera.parameters.slice_store import Key, SliceStore
from tessera.weights.manifest import SliceSpec

WRITERS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What a stream writes to."""

    set: str
    version: int
    epoch: int
    rank: int

    @property
    def key(self) -> Key:
        """Set and version."""
        return (self.set, self.version)


class Inbox:
    """What was pushed and is not durable yet; a killed shard forgets it, and the seal says so.

    Threads write it while more comes.

    A set's high-water mark is the highest (epoch, version) that anyone has pushed to; whoever comes
    with less is FENCED. The coordinator decides for good at seal and commit; the mark only
    keeps late writers from filling the memory.
    """

    def __init__(self, store: SliceStore, pool: BufferPool) -> None:
        self._store = store
        self._pool = pool
        self._writers = ThreadPoolExecutor(WRITERS, thread_name_prefix="write")
        self._lock = threading.Lock()
        self._persisting = threading.Lock()
        self._marks: dict[str, tuple[int, int]] = {}
        self._arrived: dict[Key, dict[int, list[ArrivedPiece]]] = defaultdict(dict)

    def begin(self, target: Target) -> list[SliceSpec] | None:
        """Admit a stream.

        Returns:
            The rank's durable slices if it has sealed them already: then the same may be pushed
            again, to no effect, and nothing else.

        Raises:
            FailedPreconditionError: a later writer or version has been here (reason FENCED).
        """
        with self._lock:
            self._admit(target)
        return self._store.rank(target.key, target.rank)

    def piece(self, target: Target, group: str) -> PendingPiece:
        """A new, empty piece."""
        name = _new_name(target, group)
        file = self._store.create(target.key, name)
        return PendingPiece(name, group, self._pool, file, self._writers)

    def earlier(self, target: Target, number: int) -> EarlierVersion:
        """What can be taken over from another version of the set."""
        return EarlierVersion(self._store, target.set, number)

    def link(self, target: Target, piece: SliceFile) -> LinkedPiece:
        """A piece with the bytes of an earlier one.

        Raises:
            OSError: it was dropped meanwhile, or the vault has no links.
        """
        name = _new_name(target, piece.group)
        return LinkedPiece(piece, name, self._store.link(target.key, name, piece))

    def arrive(self, target: Target, pieces: list[ArrivedPiece]) -> None:
        """Keep what a stream brought, in place of what the rank had pushed before."""
        with self._lock:
            self._admit(target)
            if self._store.rank(target.key, target.rank) is not None:
                raise errors.FailedPreconditionError(
                    f"{target.set}@{target.version} was sealed meanwhile", reason="VERSION_CLOSED"
                )
            replaced = self._arrived[target.key].pop(target.rank, [])
            self._arrived[target.key][target.rank] = pieces
        for piece in replaced:
            piece.discard()

    def persist(self, key: Key) -> list[SliceSpec]:
        """Make everything that has arrived of a version durable; returns all that is."""
        with self._persisting:
            with self._lock:
                arrived = self._arrived.pop(key, {})
            try:
                for rank in sorted(arrived):
                    # What a rank has sealed is never replaced: a manifest may count on it.
                    if arrived[rank] and self._store.rank(key, rank) is None:
                        self._store.persist(key, rank, arrived[rank])
                        arrived[rank] = []
            finally:
                for pieces in arrived.values():
                    for piece in pieces:
                        piece.discard()
            return self._store.slices(key)

    def drop(self, key: Key, groups: Sequence[str] = ()) -> int:
        """Forget some groups of a version, or all of it, and then take no more of it.

        Args:
            key: the version.
            groups: which; empty: all.

        Returns:
            Bytes freed on the disk.
        """
        # Not while it is made durable: its files are on their way then.
        with self._persisting:
            if not groups:
                with self._lock:
                    epoch, version = self._marks.get(key[0], (0, 0))
                    self._marks[key[0]] = max((epoch, version), (epoch, key[1] + 1))
                    arrived = self._arrived.pop(key, {})
                _discard(arrived)
            return self._store.drop(key, groups)

    def marks(self) -> dict[str, tuple[int, int]]:
        """The highest epoch and version that anyone has pushed to, of every set."""
        with self._lock:
            return dict(self._marks)

    def close(self) -> None:
        """End the threads, and give the memory back."""
        self._writers.shutdown()
        self._pool.close()

    @property
    def memory_bytes(self) -> int:
        """Bytes of the pool that are in use."""
        return self._pool.used

    def _admit(self, target: Target) -> None:
        mark = (target.epoch, target.version)
        known = self._marks.get(target.set, (0, 0))
        if mark < known:
            raise errors.FailedPreconditionError(
                f"epoch {target.epoch} may not push {target.set}@{target.version} any more: epoch"
                f" {known[0]} is at version {known[1]}",
                reason="FENCED" if target.epoch < known[0] else "VERSION_CLOSED",
            )
        if mark > known:
            self._marks[target.set] = mark
            for key in [k for k in self._arrived if k[0] == target.set and k != target.key]:
                _discard(self._arrived.pop(key))


def _new_name(target: Target, group: str) -> str:
    """Of a piece that nobody has pushed yet."""
    return f"{target.rank}-{group}-{uuid.uuid4().hex[:8]}"


def _discard(arrived: dict[int, list[ArrivedPiece]]) -> None:
    for pieces in arrived.values():
        for piece in pieces:
            piece.discard()
