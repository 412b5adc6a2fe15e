"""What runs in the next step, without tensors, threads or a clock of its own. Pure.

Three kinds of work share a step: sequences that go on by one token, sequences that are let in
(their encoder's part first, where there is one), and texts that are read once.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Collection, Iterable

from tessera import errors
from tessera.inference.engine import block_tables
from tessera.inference.engine.block_manager import BlockManager
from tessera.inference.engine.plan import Item, Limits, Plan
from tessera.inference.engine.pooling import PoolingRequest
from tessera.inference.engine.retry_estimator import RetryEstimator
from tessera.inference.engine.sequence import Sequence


class Scheduler:
    """First come, first served, joined by newcomers at every step.

    Only texts to read may overtake, and only sequences that wait for room in the cache: they need
    none of it.

    Args:
        blocks: of the cache of what decoders have written.
        cross_blocks: blocks of what they keep of encoders.
        limits: bounds.
    """

    def __init__(self, blocks: BlockManager, cross_blocks: BlockManager, limits: Limits) -> None:
        self.blocks = blocks
        self.cross_blocks = cross_blocks
        self.limits = limits
        self._waiting: deque[Sequence] = deque()
        self._running: list[Sequence] = []
        self._unread: deque[PoolingRequest] = deque()
        self._reading: list[PoolingRequest] = []
        self._groups: Counter[int] = Counter()
        self._waiting_tokens = 0
        self._retry_estimator = RetryEstimator()

    @property
    def waiting(self) -> int:
        """Requests of which something waits."""
        return len({item.group for item in self._queued})

    @property
    def running(self) -> int:
        """Requests of which something runs."""
        return len({item.group for item in self._computed})

    @property
    def idle(self) -> bool:
        """Whether there is nothing to do."""
        return not self._groups

    @property
    def _queued(self) -> list[Item]:
        return [*self._waiting, *self._unread]

    @property
    def _computed(self) -> list[Item]:
        return [*self._running, *self._reading]

    def versions(self) -> set[int]:
        """Versions that some item still needs."""
        return {item.version for item in (*self._computed, *self._queued)}

    def add(self, items: Collection[Item]) -> None:
        """Let the items of one request wait for their turn.

        Raises:
            ResourceExhaustedError: too many requests or tokens wait; `retry_after` is about when
                the next place will be free.
        """
        places = self.limits.max_batch + self.limits.max_waiting
        cost = sum(item.cost for item in items)
        queued = bool(self._waiting or self._unread)
        crowded = self._waiting_tokens + cost > self.limits.max_waiting_tokens
        if len(self._groups) >= places or (queued and crowded):
            raise errors.ResourceExhaustedError(
                f"{self.waiting} requests of {self._waiting_tokens} tokens wait already; "
                "try again later",
                reason="QUEUE_FULL",
                retry_after=self._retry_estimator.retry_after,
            )
        for item in items:
            self._groups[item.group] += 1
            if isinstance(item, PoolingRequest):
                self._unread.append(item)
            else:
                self._waiting.append(item)
        self._waiting_tokens += cost

    def schedule(self, now: float) -> Plan:
        """Decide the next step.

        Args:
            now: seconds, on the clock of the deadlines.
        """
        plan = Plan(expired=self._expire(now))
        self._grow(plan)
        self._admit(plan)
        return plan

    def remove(self, items: Iterable[Item], now: float | None = None) -> int:
        """Take items out, whether they have ended or been given up; their blocks are free at once.

        Args:
            items: that were added.
            now: when they ended by themselves; they then count for `retry_after`.

        Returns:
            How many of them were still in.
        """
        gone = {item.number: item for item in items}
        found = 0
        for queue in (self._waiting, self._unread, self._running, self._reading):
            taken = [item for item in queue if item.number in gone]
            if not taken:
                continue
            rest = [item for item in queue if item.number not in gone]
            queue.clear()
            queue.extend(rest)  # type: ignore[arg-type]
            found += len(taken)
            if queue is self._waiting or queue is self._unread:
                self._waiting_tokens -= sum(item.cost for item in taken)
            for item in taken:
                self._forget(item, now)
        return found

    def fork(self, sequence: Sequence, chosen: Iterable[tuple[int, int]]) -> None:
        """Go on with some branches, each as often as it was chosen; the others end.

        Args:
            sequence: that runs.
            chosen: (index of a branch, its next token).
        """
        block_tables.fork(self.blocks, sequence, chosen)

    def _expire(self, now: float) -> list[Item]:
        every = (*self._computed, *self._queued)
        late = [item for item in every if item.deadline is not None and item.deadline <= now]
        if late:
            self.remove(late)
        return late

    def _grow(self, plan: Plan) -> None:
        """Give every running sequence room for one more token; the oldest come first."""
        for sequence in list(self._running):
            if sequence not in self._running:
                continue  # It made room for an older one.
            while not self._extend(sequence, plan):
                youngest = self._running[-1]
                self._preempt(youngest)
                plan.preempted.append(youngest)
                if youngest is sequence:
                    break
            else:
                plan.decode.append(sequence)

    def _extend(self, sequence: Sequence, plan: Plan) -> bool:
        copies = block_tables.extend(self.blocks, sequence)
        if copies is None:
            return False
        plan.copies.extend((sequence.version, *copy) for copy in copies)
        return True

    def _preempt(self, sequence: Sequence) -> None:
        """Back to the head of the queue; its tokens are kept and computed again later.

        What is kept of its encoder stays: that is computed only once, and whoever waits at the
        head is let in before anybody who still needs memory.
        """
        self._running.remove(sequence)
        block_tables.release(self.blocks, sequence)
        self._waiting.appendleft(sequence)
        self._waiting_tokens += sequence.cost

    def _admit(self, plan: Plan) -> None:
        budget, full = self.limits.max_prefill_tokens, bool(plan.preempted)
        while (item := self._next(full=full)) is not None:
            cost = item.cost
            if (plan.read or plan.prefill) and cost > budget:
                break
            if isinstance(item, PoolingRequest):
                self._unread.popleft()
                self._reading.append(item)
                plan.read.append(item)
            elif self._let_in(item, plan):
                self._waiting.popleft()
            else:
                full = True
                continue
            budget -= cost
            self._waiting_tokens -= cost

    def _next(self, *, full: bool) -> Item | None:
        """The oldest item that waits, of those that can be let in."""
        queues = (self._unread,) if full else (self._unread, self._waiting)
        heads: list[Item] = [queue[0] for queue in queues if queue]
        return min(heads, key=lambda item: item.number, default=None)

    def _let_in(self, sequence: Sequence, plan: Plan) -> bool:
        rows = sum(each.rows for each in self._running) + sequence.rows
        if self._running and rows > self.limits.max_batch:
            return False
        unread = 0 if sequence.cross_blocks else self.cross_blocks.needed(len(sequence.source))
        if unread > self.cross_blocks.free:
            return False
        spare = self.limits.watermark if self._running else 0
        if not block_tables.fill(self.blocks, sequence, spare):
            return False
        if unread:
            sequence.cross_blocks = self.cross_blocks.allocate(unread) or []
            plan.encode.append(sequence)
        self._running.append(sequence)
        plan.prefill.append(sequence)
        return True

    def _forget(self, item: Item, now: float | None) -> None:
        if isinstance(item, Sequence):
            block_tables.release(self.blocks, item)
            self.cross_blocks.release(item.cross_blocks)
            item.cross_blocks = []
        self._groups[item.group] -= 1
        if not self._groups[item.group]:
            del self._groups[item.group]
            if now is not None:
                self._retry_estimator.count_end(now)
