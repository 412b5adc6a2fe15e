"""What work that does not fit may do: claim quota, have other work go, set room aside. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from tessera.controller.scheduling.allocation import OVERDUE
from tessera.controller.scheduling.decisions import NodeReservation, Preemption
from tessera.controller.scheduling.option import Option
from tessera.controller.scheduling.preemption import Search
from tessera.controller.scheduling.promise import Promise
from tessera.controller.scheduling.reserving import ReservedPlace, Reserver
from tessera.controller.scheduling.state import SchedulerState
from tessera.controller.scheduling.waiting import WorkloadClass
from tessera.controller.scheduling.workload import PLATFORM, Workload

RESERVATIONS = 3
"""For how many classes of each flavour a pass sets room aside: those that come first."""
SEARCHES = 4
"""How often a pass looks for work that might go."""
SEARCH_AGAIN = 30.0
"""Seconds after which it looks again, for the same work, where there was none."""


@dataclass(slots=True)
class Precedence:
    """What comes of those that wait, in order."""

    state: SchedulerState
    now: float
    preemptions: list[Preemption] = field(default_factory=list)
    _reserver: Reserver = field(init=False)
    _reserved: dict[str, int] = field(default_factory=dict)
    _searched: int = 0
    _tried: set[str] = field(default_factory=set)
    _short: set[str] = field(default_factory=set)
    _borrowing: bool | None = None

    def __post_init__(self) -> None:
        self._reserver = Reserver(self.state.ground, self.state.times, self.now)
        self._reserver.clear()
        for id_, promise in list(self.state.promises.items()):
            work = self.state.waiting.get(id_)
            stands = self.now <= promise.deadline + OVERDUE and promise.stands(self.state.table)
            if work is not None and stands and work.queue in self.state.quotas.branches:
                self._keep_promise(work, promise)
            else:
                del self.state.promises[id_]

    def lift(self, id_: str) -> None:
        """Set nothing aside any more for work that was promised a place: it may take it now."""
        self._reserver.release(id_)
        self.state.quotas.lift(id_)
        self.state.reservations.pop(id_, None)

    def claim(self, kind: WorkloadClass) -> None:
        """The first of a class waits: see to it that it does not wait for ever."""
        work, quotas = kind.head(), self.state.quotas
        if work.id in self.state.promises:
            return
        ways = self.state.waiting.ways(kind, self.state.flavours())
        left = [way for way in ways if self._reserved.get(way.flavour, 0) < RESERVATIONS]
        if any(self._preempt(work, way) for way in left):
            return
        within = [way for way in left if quotas.shortage(work.queue, way.amounts) is None]
        if within:
            self._reserve(work, within)
        elif left and work.queue not in self._short:
            self._claim_quota(work, ways)

    def keep(self, work: Workload) -> None:
        """Keep on keeping a promise, as long as somebody is still to go."""
        if any(victim.preempted_by == work.id for victim in self.state.going.values()):
            self._keep_promise(work, self.state.promises[work.id])
        else:
            del self.state.promises[work.id]

    def promised(self) -> list[Workload]:
        """Work for which others go, in the order in which they were asked."""
        every = (self.state.waiting.get(id_) for id_ in self.state.promises)
        return [work for work in every if work is not None]

    def _keep_promise(self, work: Workload, promise: Promise) -> None:
        place = ReservedPlace(starts=promise.deadline, placed=list(promise.placed))
        self._reserver.reserve(work.id, place)
        self.state.quotas.claim(work.id, work.queue, promise.amounts)
        self.state.reservations[work.id] = NodeReservation(
            workload=work.id,
            starts=promise.deadline,
            nodes=tuple(sorted(set(promise.nodes))),
        )

    def _claim_quota(self, work: Workload, ways: tuple[Option, ...]) -> None:
        """The first of a queue that waits for quota: nobody behind it takes what it waits for."""
        for way in ways:
            shortage = self.state.quotas.shortage(work.queue, way.amounts)
            if shortage is None or (shortage.ever and self.state.could_ever(work, way)):
                self._short.add(work.queue)
                self.state.quotas.claim(work.id, work.queue, way.amounts)
                return

    def _reserve(self, work: Workload, ways: list[Option]) -> None:
        best: tuple[ReservedPlace, Option] | None = None
        for way in ways:
            found = self._reserver.earliest(work, way)
            if found is not None and (best is None or found.starts < best[0].starts):
                best = found, way
        if best is None:
            return
        found, way = best
        self._reserver.reserve(work.id, found)
        self.state.quotas.claim(work.id, work.queue, way.amounts)
        self._reserved[way.flavour] = self._reserved.get(way.flavour, 0) + 1
        nodes = sorted({self.state.table.node(worker.row).id for worker in found.placed})
        self.state.reservations[work.id] = NodeReservation(
            workload=work.id,
            starts=None if found.starts == float("inf") else found.starts,
            nodes=tuple(nodes),
        )

    def _preempt(self, work: Workload, way: Option) -> bool:
        """Ask the cheapest that suffice to go; whether any was asked."""
        if self._searched >= SEARCHES or self._not_yet(work):
            return False
        if not self._may_preempt(work, way):
            return False
        self._searched += 1
        self._tried.add(work.id)
        table = self.state.table
        search = self._search(work, way)
        victims = search.victims()
        if victims is None:
            self._search_later(work, search)
        if not victims:
            return False
        for victim in victims:
            deadline = self.now + victim.work.grace
            self.state.preempt(victim, deadline=deadline, by=work.id)
            self.preemptions.append(
                Preemption(workload=work.id, victim=victim.work.id, deadline=deadline)
            )
        promise = Promise(
            placed=tuple(search.place),
            nodes=tuple(table.node(worker.row).id for worker in search.place),
            amounts=dict(way.amounts),
            deadline=max(victim.ends for victim in victims),
        )
        self.state.promises[work.id] = promise
        self._keep_promise(work, promise)
        self._reserved[way.flavour] = self._reserved.get(way.flavour, 0) + 1
        return True

    def _search(self, work: Workload, way: Option) -> Search:
        """On what is free beside all that is set aside."""
        free = self.state.table.free.copy()
        free.subtract(self._reserver.wanted())
        return Search(
            state=self.state,
            ground=self.state.ground.fork(free),
            work=work,
            shapes=way.shapes,
            counts=way.counts,
            amounts=way.amounts,
            now=self.now,
        )

    def _not_yet(self, work: Workload) -> bool:
        """Whether an earlier pass found nobody a moment ago; another flavour may be tried."""
        return work.id not in self._tried and self.state.search_at.get(work.id, 0.0) > self.now

    def _search_later(self, work: Workload, search: Search) -> None:
        """Nobody can be asked: look again in a while, or when one has run its minimum."""
        ready = search.ready_at()
        again = self.now + SEARCH_AGAIN
        self.state.search_at[work.id] = again if ready is None else min(ready, again)
        if ready is not None:
            wake = self.state.wake_at
            self.state.wake_at = ready if wake is None else min(wake, ready)

    def _may_preempt(self, work: Workload, way: Option) -> bool:
        """Whether anybody could be asked at all: cheap, where thousands wait."""
        if work.priority >= PLATFORM:
            return any(
                priority < PLATFORM
                for counts in self.state.priorities.values()
                for priority in counts
            )
        if any(p < work.priority for p in self.state.priorities.get(work.queue, ())):
            return True
        if self._borrowing is None:
            self._borrowing = any(
                branch.borrows(branch.limited) for branch in self.state.quotas.branches.values()
            )
        return self._borrowing and self.state.quotas.entitled(work.queue, way.amounts) is not None
