"""What runs in the next step. Pure: no tensors, no threads, no clock of its own."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from tessera import errors
from tessera.inference.engine.block_manager import BlockManager
from tessera.inference.engine.sequence import Sequence

_SHORTEST_RETRY, _LONGEST_RETRY = 0.1, 30.0
_SMOOTHING = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds of a scheduler.

    Args:
        max_batch: sequences that run at once.
        max_waiting: sequences that may wait beyond those for which there is a place.
        max_waiting_tokens: tokens that may wait; one sequence may always wait.
        max_prefill_tokens: prompt tokens of one step; one sequence is always let in.
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
        prefill: sequences whose tokens are all computed, and one new token.
        decode: sequences that go on by one token.
        expired: sequences given up because their deadline has passed.
        preempted: sequences sent back to the queue because blocks ran out.
    """

    prefill: list[Sequence] = field(default_factory=list)
    decode: list[Sequence] = field(default_factory=list)
    expired: list[Sequence] = field(default_factory=list)
    preempted: list[Sequence] = field(default_factory=list)


class Scheduler:
    """First come, first served, joined by newcomers at every step.

    Args:
        blocks: the cache.
        limits: bounds.
    """

    def __init__(self, blocks: BlockManager, limits: Limits) -> None:
        self.blocks = blocks
        self.limits = limits
        self._waiting: deque[Sequence] = deque()
        self._running: list[Sequence] = []
        self._waiting_tokens = 0
        self._last_end: float | None = None
        self._seconds_per_end = 1.0

    @property
    def waiting(self) -> int:
        """Sequences that wait."""
        return len(self._waiting)

    @property
    def running(self) -> int:
        """Sequences that hold blocks."""
        return len(self._running)

    @property
    def idle(self) -> bool:
        """Whether there is nothing to do."""
        return not self._waiting and not self._running

    def versions(self) -> set[int]:
        """Versions that some sequence still needs."""
        return {s.version for s in self._running} | {s.version for s in self._waiting}

    def add(self, sequence: Sequence) -> None:
        """Let a sequence wait for its turn.

        Raises:
            ResourceExhaustedError: too many sequences or tokens wait; `retry_after` is about when
                the next place will be free.
        """
        places = self.limits.max_batch + self.limits.max_waiting
        tokens = self._waiting_tokens + len(sequence)
        crowded = len(self._waiting) + len(self._running) >= places
        if crowded or (self._waiting and tokens > self.limits.max_waiting_tokens):
            raise errors.ResourceExhaustedError(
                f"{len(self._waiting)} requests of {self._waiting_tokens} tokens wait already; "
                "try again later",
                reason="QUEUE_FULL",
                retry_after=min(max(self._seconds_per_end, _SHORTEST_RETRY), _LONGEST_RETRY),
            )
        self._waiting.append(sequence)
        self._waiting_tokens += len(sequence)

    def schedule(self, now: float) -> Plan:
        """Decide the next step.

        Args:
            now: seconds, on the clock of the deadlines.
        """
        plan = Plan(expired=self._expire(now))
        self._grow(plan)
        if not plan.preempted:
            self._admit(plan)
        return plan

    def remove(self, sequence: Sequence, now: float | None = None) -> bool:
        """Take a sequence out, whether it has ended or been given up; its blocks are free at once.

        Args:
            sequence: one that was added.
            now: when it ended by itself; it then counts for `retry_after`.

        Returns:
            False if it was out already.
        """
        if sequence in self._running:
            self._running.remove(sequence)
            self._release(sequence)
        elif sequence in self._waiting:
            self._waiting.remove(sequence)
            self._waiting_tokens -= len(sequence)
        else:
            return False
        if now is not None:
            self._count_end(now)
        return True

    def _expire(self, now: float) -> list[Sequence]:
        late = [
            sequence
            for sequence in (*self._running, *self._waiting)
            if sequence.deadline is not None and sequence.deadline <= now
        ]
        for sequence in late:
            self.remove(sequence)
        return late

    def _grow(self, plan: Plan) -> None:
        """Give every running sequence room for one more token; the oldest come first."""
        for sequence in list(self._running):
            if sequence not in self._running:
                continue  # It made room for an older one.
            while not self._extend(sequence):
                youngest = self._running[-1]
                self._preempt(youngest)
                plan.preempted.append(youngest)
                if youngest is sequence:
                    break
            else:
                plan.decode.append(sequence)

    def _extend(self, sequence: Sequence) -> bool:
        missing = self.blocks.needed(len(sequence)) - len(sequence.blocks)
        more = self.blocks.allocate(max(missing, 0))
        if more is None:
            return False
        sequence.blocks.extend(more)
        return True

    def _preempt(self, sequence: Sequence) -> None:
        """Back to the head of the queue; its tokens are kept and computed again later."""
        self._running.remove(sequence)
        self._release(sequence)
        self._waiting.appendleft(sequence)
        self._waiting_tokens += len(sequence)

    def _admit(self, plan: Plan) -> None:
        budget = self.limits.max_prefill_tokens
        while self._waiting and len(self._running) < self.limits.max_batch:
            sequence = self._waiting[0]
            if plan.prefill and len(sequence) > budget:
                break
            spare = self.limits.watermark if self._running else 0
            if self.blocks.free - self.blocks.needed(len(sequence)) < spare:
                break
            self._extend(sequence)
            self._waiting.popleft()
            self._waiting_tokens -= len(sequence)
            budget -= len(sequence)
            self._running.append(sequence)
            plan.prefill.append(sequence)

    def _release(self, sequence: Sequence) -> None:
        self.blocks.release(sequence.blocks)
        sequence.blocks = []

    def _count_end(self, now: float) -> None:
        if self._last_end is not None:
            gap = now - self._last_end
            self._seconds_per_end += _SMOOTHING * (gap - self._seconds_per_end)
        self._last_end = now
