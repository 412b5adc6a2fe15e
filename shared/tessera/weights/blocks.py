"""Checksums of the blocks of a slice, so that any part of it can be verified. Pure."""

from __future__ import annotations

import xxhash

from tessera.weights.strided import Bytes

BLOCK_BYTES = 1024 * 1024
"""Bytes of a block of what is written now; the last one of a slice may be shorter."""


class SliceHasher:
    """Checksums of a slice whose bytes come in parts of any length: of all of it, and by block.

    Args:
        block_bytes: bytes of a block.
    """

    def __init__(self, block_bytes: int = BLOCK_BYTES) -> None:
        self._block_bytes = block_bytes
        self._whole = xxhash.xxh3_64()
        self._block = xxhash.xxh3_64()
        self._filled = 0
        self._blocks: list[int] = []

    def update(self, data: Bytes) -> None:
        """The next bytes."""
        self._whole.update(data.data)
        while data.size:
            part = data[: self._block_bytes - self._filled]
            self._block.update(part.data)
            self._filled += part.size
            data = data[part.size :]
            if self._filled == self._block_bytes:
                self._end_block()

    def finish(self) -> tuple[int, tuple[int, ...]]:
        """Checksum of the slice and those of its blocks; the next one may come."""
        if self._filled:
            self._end_block()
        found = self._whole.intdigest(), tuple(self._blocks)
        self._whole.reset()
        self._blocks.clear()
        return found

    def _end_block(self) -> None:
        self._blocks.append(self._block.intdigest())
        self._block.reset()
        self._filled = 0


def is_whole(block: memoryview, checksum: int) -> bool:
    """Whether the bytes of a block are those that were written."""
    return bool(xxhash.xxh3_64_intdigest(block) == checksum)
