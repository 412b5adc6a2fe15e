"""Bounds of an engine. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from tessera.inference.engine.plan import Limits


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    """How much an engine takes on.

    Args:
        limits: of the scheduler.
        block_size: tokens of a block of the cache.
        blocks: of the cache of what was written, and of that of what encoders have read; 0:
            enough for a full batch of whole contexts.
        coalesce_seconds: that a token may wait for the next ones, to travel in one message; the
            first and the last of an answer never wait.
    """

    limits: Limits = field(default_factory=Limits)
    block_size: int = 16
    blocks: int = 0
    coalesce_seconds: float = 0.02

    def blocks_for(self, context: int) -> int:
        """Blocks of the cache of a model with this context, in tokens."""
        return self.blocks or self.limits.max_batch * -(-context // self.block_size)


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineStatus:
    """What an engine is doing.

    Args:
        version: that new requests get.
        versions: that are in memory.
        running: requests that hold blocks.
        waiting: requests that wait.
        free_blocks: of the cache of what was written.
        total_blocks: of the cache.
        free_cross_blocks: blocks of the cache of what encoders have read that are free.
        corrupted: requests of the version that ended because its numbers were not finite.
        hopeless: whether all of its requests ended so.
        message: what went wrong; empty if nothing did.
    """

    version: int
    versions: tuple[int, ...]
    running: int
    waiting: int
    free_blocks: int
    total_blocks: int
    free_cross_blocks: int
    corrupted: int
    hopeless: bool
    message: str
