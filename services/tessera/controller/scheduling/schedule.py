"""A pass: who starts where, who goes for it, and what is set aside for whom. Pure.

Work is looked at in order: the platform's own, then queue by queue, the one with the smallest
dominant share first, and within a queue by priority and arrival. What does not fit sets aside the
quota, or the room, that it needs, so that nothing behind it takes that; everything else may pass.
Whatever a pass sets aside stands until the next one. A pass over a state in which nothing has
changed does nothing.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from dataclasses import dataclass, field

from tessera.controller.scheduling.decisions import Admission, Decisions
from tessera.controller.scheduling.precedence import Precedence
from tessera.controller.scheduling.starting import Tried, start
from tessera.controller.scheduling.state import SchedulerState
from tessera.controller.scheduling.turns import QueueTurns
from tessera.controller.scheduling.waiting import WorkloadClass
from tessera.controller.scheduling.workload import PLATFORM

LOG = 200_000
"""Changes of rows that are remembered."""
SHAPES = 2048
"""Shapes of workers whose fit is remembered."""

Line = list[tuple[tuple[int, float, str], WorkloadClass]]


def schedule(state: SchedulerState, now: float) -> Decisions:
    """Decide, and bring the state to what was decided.

    Equal states give equal decisions, whatever deltas made them.
    """
    for work in state.waiting.released(now):
        state.waiting.held[work.id] = work
        state.release(work.id)
    due = state.wake_at is not None and state.wake_at <= now
    if state.changed or due or (state.fresh and state.anything_aside):
        return _whole(state, now)
    if state.fresh:
        kinds = [kind for kind in state.fresh if kind.members]
        state.fresh.clear()
        return Pass(state, now).run(kinds)
    return Decisions()


def _whole(state: SchedulerState, now: float) -> Decisions:
    """Look at everything again, from the first on."""
    state.changed, state.wake_at = False, None
    state.fresh.clear()
    state.reservations.clear()
    state.quotas.clear()
    if len(state.table.log) > LOG or len(state.ground.fits) > SHAPES:
        state.ground.fits.clear()
        state.table.log.clear()
    return Pass(state, now).run(list(state.waiting.classes()))


@dataclass(slots=True)
class Pass:
    """One pass over some classes."""

    state: SchedulerState
    now: float
    _precedence: Precedence = field(init=False)
    _tried: Tried = field(default_factory=set)
    _admissions: list[Admission] = field(default_factory=list)
    _waiting: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._precedence = Precedence(self.state, self.now)

    def run(self, kinds: Iterable[WorkloadClass]) -> Decisions:
        """Look at classes in order."""
        self._keep_promises()
        first: Line = []
        lines: dict[str, Line] = {}
        for kind in (kind for kind in kinds if kind.members):
            branch = self.state.quotas.branches.get(kind.sample.queue)
            if branch is None or branch.children:
                self._stop(kind)
            elif kind.sample.priority >= PLATFORM:
                first.append((kind.rank(), kind))
            else:
                lines.setdefault(kind.sample.queue, []).append((kind.rank(), kind))
        heapq.heapify(first)
        while first:
            self._consider(first)
        self._take_turns(lines)
        return Decisions(
            admissions=tuple(self._admissions),
            preemptions=tuple(self._precedence.preemptions),
            reservations=tuple(self.state.reservations.values()),
            waiting=tuple(self._waiting),
        )

    def _keep_promises(self) -> None:
        """Whom others made room for comes first: where it cannot start yet, its place is kept."""
        for work in self._precedence.promised():
            kind = self.state.waiting.class_of(work.id)
            self._precedence.lift(work.id)
            admission = start(self.state, kind, work, self.now, set())
            if admission is not None:
                self._admissions.append(admission)
            else:
                self._precedence.keep(work)

    def _take_turns(self, lines: dict[str, Line]) -> None:
        branches = [self.state.quotas.branches[name] for name in lines]
        turns = QueueTurns(branches, self.state.table.totals, self.now)
        for line in lines.values():
            heapq.heapify(line)
        while (name := turns.first()) is not None:
            admitted = self._consider(lines[name])
            if admitted or not lines[name]:
                turns.served(done=not lines[name])

    def _consider(self, line: Line) -> bool:
        """Look at the first of a line: it starts, or its whole class waits."""
        _, kind = line[0]
        admission = start(self.state, kind, kind.head(), self.now, self._tried)
        if admission is not None:
            self._admissions.append(admission)
            if kind.members:
                heapq.heapreplace(line, (kind.rank(), kind))
            else:
                heapq.heappop(line)
            return True
        heapq.heappop(line)
        self._precedence.claim(kind)
        self._stop(kind)
        return False

    def _stop(self, kind: WorkloadClass) -> None:
        kind.stopped = True
        self._waiting.append(kind.head().id)
