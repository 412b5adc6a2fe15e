"""A piece that is being received: written to its file while it comes."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Executor, Future
from typing import Protocol

from tessera.parameters.buffers import BLOCK_BYTES, BufferPool
from tessera.parameters.vault import NewFile
from tessera.weights.manifest import SliceSpec
from tessera.weights.strided import Bytes

SYNC_BYTES = 64 * 1024 * 1024
"""What is written before the disk is waited for, so that little is left to do at the end."""


class ArrivedPiece(Protocol):
    """A piece that a rank has pushed, and that is not in its place yet."""

    @property
    def name(self) -> str:
        """Of the piece."""

    @property
    def group(self) -> str:
        """Of its tensors."""

    @property
    def slices(self) -> list[SliceSpec]:
        """What lies in it."""

    def land(self) -> None:
        """Make it durable, and put its file in its place."""

    def discard(self) -> None:
        """Forget it, unless it has landed: then its file is the version's."""


class PendingPiece:
    """The slices of one group that one rank pushes, one after another.

    Its bytes land in blocks of memory. Once most of the memory is taken, or all has come, threads
    put them into the file: what fits is received as fast as the network gives it, and of what does
    not, little is left to write at the end. Where no block is free, whoever pushes waits for the
    disk.

    Args:
        name: of the piece.
        group: of its tensors.
        pool: where its bytes land.
        file: its own, with nothing in it.
        writers: put full blocks into the file.
    """

    def __init__(
        self, name: str, group: str, pool: BufferPool, file: NewFile, writers: Executor
    ) -> None:
        self.name = name
        self.group = group
        self.size = 0
        self.slices: list[SliceSpec] = []
        self._file = file
        self._pool = pool
        self._writers = writers
        self._block: Bytes | None = None
        self._fill = 0
        self._full: deque[tuple[Bytes, int, int]] = deque()
        self._writing: deque[Future[None]] = deque()
        self._unsynced = 0

    def append(self, data: Bytes) -> None:
        """Take more bytes.

        Raises:
            OSError: what came before could not be written.
        """
        while data.size:
            if self._block is None and not self._take():
                self._file.write_at(data, self.size)
                self.size += data.size
                return
            assert self._block is not None
            part = data[: BLOCK_BYTES - self._fill]
            self._block[self._fill : self._fill + part.size] = part
            self._fill += part.size
            self.size += part.size
            data = data[part.size :]
            if self._fill == BLOCK_BYTES:
                self._end_block()
                if self._pool.crowded:
                    self.flush()

    def flush(self) -> None:
        """Let threads write what is here, and see whether what they wrote before could be.

        Raises:
            OSError: it could not.
        """
        while self._full:
            block, fill, start = self._full.popleft()
            self._unsynced += fill
            sync = self._unsynced >= SYNC_BYTES
            if sync:
                self._unsynced = 0
            writing = self._writers.submit(self._write_block, block, fill, start, sync=sync)
            self._writing.append(writing)
        while self._writing and self._writing[0].done():
            self._writing.popleft().result()

    def land(self) -> None:
        """Put all of it in the file, durably, and that in its place; the memory is free then.

        Raises:
            OSError: it cannot be written.
        """
        self._end_block()
        self.flush()
        while self._writing:
            self._writing.popleft().result()
        self._file.sync()
        self._file.commit()

    def discard(self) -> None:
        """Forget it, unless it has landed: then its file is the version's."""
        self._end_block()
        self._pool.give([block for block, _, _ in self._full])
        self._full.clear()
        for writing in self._writing:
            # One that had not begun still has to give its block back.
            writing.exception()
        self._writing.clear()
        self._file.discard()

    def _take(self) -> bool:
        """Begin a block; returns whether there is one, if need be after one of its own is free."""
        self._block, self._fill = self._pool.take(), 0
        if self._block is None:
            self.flush()
        while self._block is None and self._writing:
            self._writing.popleft().result()
            self._block = self._pool.take()
        return self._block is not None

    def _end_block(self) -> None:
        if self._block is not None:
            self._full.append((self._block, self._fill, self.size - self._fill))
            self._block = None

    def _write_block(self, block: Bytes, fill: int, start: int, *, sync: bool) -> None:
        try:
            self._file.write_at(block[:fill], start)
        finally:
            self._pool.give([block])
        if sync:
            self._file.sync()
