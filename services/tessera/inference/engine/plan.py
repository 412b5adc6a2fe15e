"""What the scheduler may decide, and what it has decided. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from tessera.inference.engine.pooling import PoolingRequest
from tessera.inference.engine.sequence import Sequence

Item = Sequence | PoolingRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds of a scheduler.

    Args:
        max_batch: rows that run at once: sequences, or hypotheses of beam searches; one sequence
            always runs.
        max_waiting: requests that may wait beyond those for which there is a place.
        max_waiting_tokens: tokens that may wait; one request may always wait.
        max_prefill_tokens: tokens of one step that are read, by an encoder or as a prompt; one
            item is always let in.
        watermark: blocks that a newcomer leaves free, for those that run to grow into.
    """

    max_batch: int = 16
    max_waiting: int = 256
    max_waiting_tokens: int = 1 << 20
    max_prefill_tokens: int = 2048
    watermark: int = 1


@dataclass(slots=True, kw_only=True)
class Plan:
    """One step.

    Args:
        read: texts that are read.
        encode: sequences, also in `prefill`, whose source an encoder reads first.
        prefill: sequences whose tokens are all computed, and one new token.
        decode: sequences that go on by one token.
        copies: (version, from, to) of blocks to copy before anything is written.
        expired: items given up because their deadline has passed.
        preempted: sequences sent back to the queue because blocks or rows ran out.
        tokens: cost of what is read, encoded and in `prefill`.
        places: of the text that is read, where that is done in parts; None: all.
        contested: whether that is so because others ask for something.
    """

    read: list[PoolingRequest] = field(default_factory=list)
    encode: list[Sequence] = field(default_factory=list)
    prefill: list[Sequence] = field(default_factory=list)
    decode: list[Sequence] = field(default_factory=list)
    copies: list[tuple[int, int, int]] = field(default_factory=list)
    expired: list[Item] = field(default_factory=list)
    preempted: list[Sequence] = field(default_factory=list)
    tokens: int = 0
    places: int | None = None
    contested: bool = False

    @property
    def items(self) -> list[Item]:
        """All that it computes."""
        return [*self.read, *self.prefill, *self.decode]

    @property
    def resumes(self) -> bool:
        """Whether it goes on with a text that has been read in part."""
        return any(item.left is not None for item in self.read)

    def of(self, version: int) -> Plan:
        """What it computes with the weights of one version."""
        return Plan(
            read=[item for item in self.read if item.version == version],
            encode=[item for item in self.encode if item.version == version],
            prefill=[item for item in self.prefill if item.version == version],
            decode=[item for item in self.decode if item.version == version],
            copies=[copy for copy in self.copies if copy[0] == version],
            places=self.places,
        )
