"""What runs in the next step, without tensors, threads or a clock of its own. Pure.

Three kinds of work share a step: sequences that go on by one token, sequences that are let in
(their encoder's part first, where there is one), and texts that are read once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

from tessera import errors
from tessera.inference.engine import block_tables
from tessera.inference.engine.backlog import Backlog
from tessera.inference.engine.block_manager import BlockManager
from tessera.inference.engine.contention import Contention
from tessera.inference.engine.plan import Item, Limits, Plan
from tessera.inference.engine.pooling import PoolingRequest
from tessera.inference.engine.retry_estimator import RetryEstimator
from tessera.inference.engine.sequence import Sequence
from tessera.inference.engine.step_budget import StepBudget


class Scheduler:
    """Clients in turn, of each what came first; newcomers join at every step.

    Only texts to read may overtake, and only sequences that wait for room in the cache: they need
    none of it. A client of whom nothing is written gets a row from whoever has most.

    Args:
        blocks: of the cache of what decoders have written.
        cross_blocks: blocks of what they keep of encoders.
        limits: bounds.
    """

    def __init__(self, blocks: BlockManager, cross_blocks: BlockManager, limits: Limits) -> None:
        self.blocks = blocks
        self.cross_blocks = cross_blocks
        self.limits = limits
        self.budget = StepBudget(limits.max_prefill_tokens)
        self._backlog = Backlog(limits)
        self._contention = Contention()
        self._running: list[Sequence] = []
        self._reading: list[PoolingRequest] = []
        self._retry_estimator = RetryEstimator()

    @property
    def waiting(self) -> int:
        """Requests of which something waits."""
        return len({item.group for item in self._backlog})

    @property
    def running(self) -> int:
        """Requests of which something runs."""
        return len({item.group for item in self._computed})

    @property
    def idle(self) -> bool:
        """Whether there is nothing to do."""
        return not self._backlog.requests

    @property
    def _computed(self) -> list[Item]:
        return [*self._running, *self._reading]

    def versions(self) -> set[int]:
        """Versions that some item still needs."""
        return {item.version for item in (*self._computed, *self._backlog)}

    def add(self, items: Collection[Item]) -> list[Item]:
        """Let the items of one request wait for their turn.

        Returns:
            One item of each request that has to give way to it, because its client has most of what
            waits: `queue_full` is what its caller is told.

        Raises:
            ResourceExhaustedError: too many requests or tokens wait; `retry_after` is about when
                the next place will be free.
        """
        leaving = self._backlog.add(items)
        if leaving is None:
            raise self.queue_full()
        return leaving

    def queue_full(self) -> errors.ResourceExhaustedError:
        """The error of a request for which there is no room."""
        return errors.ResourceExhaustedError(
            f"{self._backlog.requests} requests, and {self._backlog.tokens} tokens that wait, are"
            " in already; try again later",
            reason="QUEUE_FULL",
            retry_after=self._retry_estimator.retry_after,
        )

    def schedule(self, now: float) -> Plan:
        """Decide the next step.

        Args:
            now: seconds, on the clock of the deadlines.
        """
        plan = Plan(expired=self._expire(now))
        self._grow(plan)
        self._admit(plan, self._seat(plan), now)
        self._contention.count({item.client for item in plan.items}, now)
        return plan

    def finish(self, plan: Plan, left: Mapping[int, int], seconds: float) -> None:
        """A step is over.

        Args:
            plan: it.
            left: places that are left, by the numbers of texts that have been read in part: these
                wait for their next turn, where they are still in.
            seconds: that it took.
        """
        done = plan.tokens + len(plan.decode) - sum(left.values())
        if plan.resumes:
            # A step of its own costs others more than its few places say.
            self._backlog.charge(plan.read[0].client, self.budget.in_tokens(seconds) - done)
            if left:
                self.budget.count_places(seconds, contested=plan.contested)
        else:
            self.budget.count(done, seconds)
        for item in [item for item in self._reading if item.number in left]:
            self._reading.remove(item)
            self._backlog.put_back(replace(item, left=left[item.number]))

    def remove(self, items: Iterable[Item], now: float | None = None) -> int:
        """Take items out, whether they have ended or been given up; their blocks are free at once.

        Args:
            items: that were added.
            now: when they ended by themselves; they then count for `retry_after`.

        Returns:
            How many of them were still in.
        """
        gone = {item.number: item for item in items}
        taken: list[Item] = self._backlog.remove(gone)
        taken.extend(item for item in self._computed if item.number in gone)
        self._running = [item for item in self._running if item.number not in gone]
        self._reading = [item for item in self._reading if item.number not in gone]
        for item in taken:
            self._forget(item, now)
        return len(taken)

    def fork(self, sequence: Sequence, chosen: Iterable[tuple[int, int]]) -> None:
        """Go on with some branches, each as often as it was chosen; the others end.

        Args:
            sequence: that runs.
            chosen: (index of a branch, its next token).
        """
        block_tables.fork(self.blocks, sequence, chosen)

    def _expire(self, now: float) -> list[Item]:
        every = (*self._computed, *self._backlog)
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
        self._backlog.put_back(sequence)

    def _seat(self, plan: Plan) -> int:
        """Let in a sequence of each client that has none; returns the tokens to read that are left.

        Where there is no room, the youngest of whoever has most rows makes it, and comes back
        before all others.
        """
        budget = self.budget.tokens
        rows: Counter[str] = Counter()
        for each in self._running:
            rows[each.client] += each.rows
        for item in [item for item in self._backlog.writers() if not rows[item.client]]:
            assert isinstance(item, Sequence)
            cost = item.cost
            if not rows or plan.preempted or (plan.prefill and cost > budget):
                break
            while not (seated := self._let_in(item, plan)):
                client, most = rows.most_common(1)[0]
                if most <= item.rows:
                    break
                youngest = next(each for each in reversed(self._running) if each.client == client)
                if youngest not in plan.decode or youngest.rows == most:
                    break
                plan.decode.remove(youngest)
                self._preempt(youngest)
                plan.preempted.append(youngest)
                rows[client] -= youngest.rows
            if seated:
                self._backlog.pop(item, cost)
                rows[item.client] += item.rows
                plan.tokens += cost
                budget -= cost
        return budget

    def _admit(self, plan: Plan, budget: int, now: float) -> None:
        full = bool(plan.preempted)
        while (item := self._backlog.head(reads_only=full)) is not None:
            cost = item.cost
            contested = self._contention.beside(item.client, now)
            places = self._part(item, contested=contested)
            if (plan.read or plan.prefill) and (cost > budget or places):
                break
            if isinstance(item, PoolingRequest):
                self._reading.append(item)
                plan.read.append(item)
            elif not self._let_in(item, plan):
                full = True
                continue
            self._backlog.pop(item, cost)
            plan.tokens += cost
            budget -= cost
            if places:
                plan.places, plan.contested = places, contested
                break

    def _part(self, item: Item, *, contested: bool) -> int | None:
        """Places of a text that one step looks at, and does nothing else; None: all, with others'.

        Args:
            item: the text, or a sequence.
            contested: whether others ask for something.
        """
        if not isinstance(item, PoolingRequest) or not item.places:
            return None
        most = self.budget.places(contested=contested)
        whole = item.cost <= self.budget.tokens and item.places <= most
        return None if whole and item.left is None else most

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
        if self._backlog.end(item) and now is not None:
            self._retry_estimator.count_end(now)
