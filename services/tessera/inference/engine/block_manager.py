"""Who holds which block of the KV cache. Pure."""

from __future__ import annotations

from collections.abc import Iterable


class BlockManager:
    """A pool of equal blocks, counted by reference so that sequences may share them.

    Args:
        blocks: how many there are; their ids are 0 … blocks - 1.
        block_size: tokens that a block holds.
    """

    def __init__(self, blocks: int, block_size: int) -> None:
        if blocks < 1 or block_size < 1:
            raise ValueError("a cache needs at least one block of at least one token")
        self.total = blocks
        self.block_size = block_size
        # A stack: what was freed last is used next, while its memory is warm.
        self._free = list(range(blocks - 1, -1, -1))
        self._references = [0] * blocks

    @property
    def free(self) -> int:
        """Blocks that nobody holds."""
        return len(self._free)

    @property
    def capacity(self) -> int:
        """Tokens that all blocks together hold."""
        return self.total * self.block_size

    def needed(self, tokens: int) -> int:
        """Blocks that so many tokens take."""
        return -(-tokens // self.block_size)

    def references(self, block: int) -> int:
        """How often a block is held."""
        return self._references[block]

    def allocate(self, count: int) -> list[int] | None:
        """So many blocks, each held once; None, and nothing taken, if too few are free."""
        if count > len(self._free):
            return None
        taken = [self._free.pop() for _ in range(count)]
        for block in taken:
            self._references[block] = 1
        return taken

    def share(self, blocks: Iterable[int]) -> None:
        """Hold blocks once more.

        Raises:
            ValueError: one of them is free.
        """
        for block in blocks:
            self._check_held(block)
            self._references[block] += 1

    def release(self, blocks: Iterable[int]) -> None:
        """Hold blocks once less; those that nobody holds any more are free.

        Raises:
            ValueError: one of them is free already.
        """
        for block in blocks:
            self._check_held(block)
            self._references[block] -= 1
            if not self._references[block]:
                self._free.append(block)

    def _check_held(self, block: int) -> None:
        if not self._references[block]:
            raise ValueError(f"block {block} is free")
