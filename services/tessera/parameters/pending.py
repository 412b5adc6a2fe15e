"""A piece that is being received: in memory as long as there is room, else in its file."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from tessera.parameters.buffers import BLOCK_BYTES, BufferPool
from tessera.weights.manifest import SliceSpec
from tessera.weights.strided import Bytes


class PendingPiece:
    """The slices of one group that one rank pushes, one after another.

    Args:
        name: of the piece.
        group: of its tensors.
        pool: where its bytes land.
        path: file that it is written to, at the latest by `write`.
    """

    def __init__(self, name: str, group: str, pool: BufferPool, path: Path) -> None:
        self.name = name
        self.group = group
        self.size = 0
        self.slices: list[SliceSpec] = []
        self.path = path
        self._pool = pool
        self._blocks: list[Bytes] = []
        self._fill = BLOCK_BYTES
        self._file: int | None = None

    def append(self, data: Bytes) -> None:
        """Take more bytes."""
        position = 0
        while position < data.size:
            if self._fill == BLOCK_BYTES:
                block = self._pool.take()
                if block is None:
                    self._spill(data[position:])
                    break
                self._blocks.append(block)
                self._fill = 0
            taken = min(BLOCK_BYTES - self._fill, data.size - position)
            block = self._blocks[-1]
            block[self._fill : self._fill + taken] = data[position : position + taken]
            self._fill += taken
            position += taken
        self.size += data.size

    def write(self) -> None:
        """Put all of it in the file, durably, and free the memory."""
        self._flush()
        if self._file is not None:
            os.fsync(self._file)
            self._close()

    def move(self, path: Path) -> None:
        """Give its file another name."""
        self.path.rename(path)
        self.path = path

    def discard(self) -> None:
        """Forget it."""
        self._pool.give(self._blocks)
        self._close()
        self.path.unlink(missing_ok=True)

    def _spill(self, data: Bytes) -> None:
        """No block is free: what is here and what has come go to the file."""
        self._flush()
        assert self._file is not None
        _write(self._file, data)

    def _flush(self) -> None:
        if self._file is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        for position, block in enumerate(self._blocks):
            last = position == len(self._blocks) - 1
            _write(self._file, block[: self._fill] if last else block)
        self._pool.give(self._blocks)
        self._fill = BLOCK_BYTES

    def _close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None


def _write(file: int, data: Bytes) -> None:
    rest = np.ascontiguousarray(data).data
    while rest:
        rest = rest[os.write(file, rest) :]
