"""Who goes for work that comes before it: the cheapest set whose room and quota suffice. Pure.

Asked may be, once they have run their minimum: what is lower in the same queue; what queues use
beyond their own, for work that is due to its queue; and everything, for the platform's own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

from tessera.controller.scheduling.allocation import Allocation
from tessera.controller.scheduling.placing import Ground, PlacedWorker, find, put_back
from tessera.controller.scheduling.quota import QueueBranch
from tessera.controller.scheduling.shape import WHOLE, WorkerShape, slots
from tessera.controller.scheduling.state import SchedulerState
from tessera.controller.scheduling.workload import PLATFORM, Workload

CANDIDATES = 128
"""The cheapest that are looked at."""
OF_A_QUEUE = 64
"""Those of a queue that are looked at."""
ANY_PRIORITY = 1 << 31
ON_A_NODE = 8
"""On a node with no more, every set of them is compared."""

Cost = tuple[int, float, int]


def cost(victims: Iterable[Allocation], now: float) -> Cost:
    """Highest priority, device-seconds that are lost, and number: lower is cheaper."""
    chosen = list(victims)
    priority = max((victim.work.priority for victim in chosen), default=-(1 << 31))
    return priority, sum(lost(victim, now) for victim in chosen), len(chosen)


def lost(victim: Allocation, now: float) -> float:
    """Device-seconds since its last checkpoint; of work without devices, processor-seconds."""
    held = sum(worker.shape.devices * WHOLE + worker.shape.share for worker in victim.workers)
    held = held or sum(worker.shape.cpu for worker in victim.workers)
    return held / WHOLE * max(0.0, now - max(victim.start, victim.checkpoint))


@dataclass(slots=True, kw_only=True)
class Search:
    """For one piece of work, on devices of one flavour.

    `ground` is a copy of the nodes, on which whoever was asked to go already has gone; `place` is
    where the work goes when those that `victims` names have gone.
    """

    state: SchedulerState
    ground: Ground
    work: Workload
    shapes: Sequence[WorkerShape]
    counts: Sequence[int]
    amounts: Mapping[str, int]
    now: float
    place: list[PlacedWorker] = field(default_factory=list)
    _ready_at: float | None = None

    def victims(self) -> list[Allocation] | None:
        """Who goes; none: what has been asked to suffices; None: nobody helps."""
        going = list(self.state.going.values())
        for victim in going:
            self._without(victim)
        try:
            chosen = self._cheapest()
            for victim in chosen or ():
                self._without(victim)
            if chosen:
                assert self._enough()
            for victim in chosen or ():
                self._with(victim)
            return chosen
        finally:
            for victim in going:
                self._with(victim)

    def _cheapest(self) -> list[Allocation] | None:
        if self._enough():
            return []
        candidates = sorted(self._candidates(), key=lambda a: (*cost([a], self.now), a.work.id))
        candidates = candidates[:CANDIDATES]
        if not candidates:
            return None
        greedy = self._greedy(candidates)
        single = self.work.workers == 1 and len(self.shapes) == 1
        if greedy is None or not single or self._short():
            return greedy
        on_one = self._on_one_node(candidates)
        return min((greedy, on_one), key=lambda s: cost(s, self.now)) if on_one else greedy

    def _candidates(self) -> Iterator[Allocation]:
        work, quotas = self.work, self.state.quotas
        due = quotas.entitled(work.queue, self.amounts)
        for queue, running in self.state.preemptible.items():
            if work.priority >= PLATFORM:
                below = PLATFORM
            elif queue == work.queue:
                below = work.priority
            elif due is not None and self._borrows(queue, due):
                below = ANY_PRIORITY
            else:
                continue
            if any(priority < below for priority in self.state.priorities[queue]):
                yield from self._ready(running, below)

    def _ready(self, running: Mapping[str, Allocation], below: int) -> Iterator[Allocation]:
        """Those of a queue that have run their minimum: of many, those that started last."""
        count = 0
        for allocation in reversed(list(running.values())):
            if allocation.work.priority >= below or allocation.deadline is not None:
                continue
            ready = allocation.start + allocation.work.min_runtime
            if ready <= self.now:
                yield allocation
                count += 1
                if count == OF_A_QUEUE:
                    return
            elif self._ready_at is None or ready < self._ready_at:
                self._ready_at = ready

    def ready_at(self) -> float | None:
        """When one that has not run its minimum has; None: there is none such."""
        return self._ready_at

    def _borrows(self, queue: str, due: QueueBranch) -> bool:
        """Whether a queue, or a branch that it is of, uses what is not its own."""
        branch = self.state.quotas.branches.get(queue)
        inside = {id(step) for step in due.path()}
        if branch is None or queue == self.work.queue:
            return False
        return any(step.borrows(self.amounts) for step in branch.path() if id(step) not in inside)

    def _greedy(self, candidates: Sequence[Allocation]) -> list[Allocation] | None:
        """Let go one after another until it fits, then keep whoever need not go."""
        gone: list[Allocation] = []
        due = self.state.quotas.entitled(self.work.queue, self.amounts)
        for victim in candidates:
            own = victim.work.queue == self.work.queue or self.work.priority >= PLATFORM
            if not own and not (due and self._borrows(victim.work.queue, due)):
                continue
            gone.append(victim)
            self._without(victim)
            if self._enough():
                break
        needed = self._enough()
        for victim in list(reversed(gone)):
            self._with(victim)
            if not needed or self._enough():
                gone.remove(victim)
            else:
                self._without(victim)
        for victim in gone:
            self._with(victim)
        return gone if needed else None

    def _on_one_node(self, candidates: Sequence[Allocation]) -> list[Allocation] | None:
        """The cheapest set on one node that makes room for one worker."""
        nodes: dict[str, list[Allocation]] = {}
        for victim in candidates:
            for node in victim.nodes:
                nodes.setdefault(node, []).append(victim)
        allowed = self.ground.fit(self.shapes[0]).allowed
        best: tuple[Cost, list[Allocation]] | None = None
        for node, on_node in nodes.items():
            row = self.state.table.rows.get(node)
            if row is None or not allowed[row]:
                continue
            for victims in _sets(on_node):
                price = cost(victims, self.now)
                if (best is None or price < best[0]) and self._frees(row, node, victims):
                    best = price, list(victims)
        return best[1] if best else None

    def _frees(self, row: int, node: str, victims: Iterable[Allocation]) -> bool:
        table, shape = self.ground.table, self.shapes[0]
        cpu, memory = int(table.free.cpu[row]), int(table.free.memory[row])
        devices = table.free.devices[row].tolist()
        for victim in victims:
            for worker in victim.workers:
                if worker.node == node:
                    cpu += worker.shape.cpu
                    memory += worker.shape.memory
                    for device in worker.devices:
                        devices[device] += worker.shape.share or WHOLE
        return slots(cpu, memory, devices, table.node(row).devices, shape) > 0

    def _enough(self) -> bool:
        if self._short():
            return False
        placed = find(self.ground, self.work, self.shapes, self.counts, float("inf"))
        if placed is None:
            return False
        put_back(self.ground.table, placed)
        self.place = placed
        return True

    def _short(self) -> bool:
        return self.state.quotas.shortage(self.work.queue, self.amounts) is not None

    def _without(self, victim: Allocation) -> None:
        self._move(victim, -1)

    def _with(self, victim: Allocation) -> None:
        self._move(victim, 1)

    def _move(self, victim: Allocation, sign: int) -> None:
        self.state.quotas.pretend(victim.work.queue, victim.amounts, sign)
        table = self.ground.table
        for worker in victim.workers:
            if worker.line >= 0:
                move = table.take if sign > 0 else table.give
                move(table.rows[worker.node], worker.shape, worker.devices)


def _sets(victims: Sequence[Allocation]) -> Iterator[Sequence[Allocation]]:
    """Every set of a few, or, of many, the cheapest one, two, three and so on."""
    if len(victims) <= ON_A_NODE:
        for size in range(1, len(victims) + 1):
            yield from combinations(victims, size)
    else:
        for size in range(1, len(victims) + 1):
            yield victims[:size]
