"""The scheduler's state, and the one thread that it lives on.

A pass may take a tenth of a second: nothing of it runs on the event loop, and nobody but this
thread sees the state. Who leads brings it up to date (`reconcile.scheduling`); a controller that
does not lead has none.
"""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Concatenate, ParamSpec, TypeVar

from tessera import errors
from tessera.controller.policy.feasibility import Excess, excess
from tessera.controller.scheduling import snapshot
from tessera.controller.scheduling.decisions import Decisions, Reason
from tessera.controller.scheduling.explain import Forecast, dry_run, explain, what_if
from tessera.controller.scheduling.node import POOL_LABEL, Node
from tessera.controller.scheduling.state import SchedulerState
from tessera.controller.scheduling.workload import Workload

P = ParamSpec("P")
R = TypeVar("R")

NO_POOL = Reason(code="NO_POOL", message="No pool answers at the moment.")


class WorkloadScheduler:
    """Runs functions on the state, one after another.

    Args:
        leads: whether this controller leads: who does not has no state that could be asked.
    """

    def __init__(self, leads: Callable[[], bool]) -> None:
        self._leads = leads
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="scheduler")
        self._state = SchedulerState()
        self._filled = False

    @property
    def ready(self) -> bool:
        """Whether the state is what the store and the pools say, but for what is on its way."""
        return self._filled and self._leads()

    def fill(self) -> None:
        """The state has been brought to what the store and the pools say."""
        self._filled = True

    async def run(
        self,
        function: Callable[Concatenate[SchedulerState, P], R],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> R:
        """Call `function(state, …)`."""
        loop = asyncio.get_running_loop()
        call = functools.partial(function, self._state, *args, **kwargs)
        return await loop.run_in_executor(self._thread, call)

    async def reset(self) -> None:
        """Begin with nothing: what was known may be wrong."""
        self._filled = False
        self._state = SchedulerState()

    def close(self) -> None:
        """End the thread."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def excess(self, work: Workload) -> Excess | None:
        """What of some work no pool could ever hold; None: one could, or nobody knows."""
        return await self.run(excess, work) if self.ready else None

    async def reasons(self, ids: Iterable[str]) -> dict[str, tuple[Reason, ...]]:
        """Why work waits, now; what does not wait is left out."""
        return await self.run(why, tuple(ids), time.time()) if self.ready else {}

    async def standing_of(self, id_: str) -> WaitingPlace:
        """Why work waits, and how much of its queue comes before it.

        Raises:
            UnavailableError: nothing has been looked at yet (SCHEDULER_STARTING).
        """
        self.check()
        return await self.run(place_in_line, id_, time.time())

    async def dry_run(self, work: Workload, nodes: Iterable[Node] = ()) -> Forecast:
        """What would become of work that is sent now, if there were more nodes too.

        Raises:
            UnavailableError: nothing has been looked at yet (SCHEDULER_STARTING).
        """
        self.check()
        return await self.run(_dry_run, work, tuple(nodes), time.time())

    async def what_if(self, id_: str, nodes: Iterable[Node]) -> Forecast:
        """What would become of work that waits if there were more nodes.

        Raises:
            UnavailableError: nothing has been looked at yet (SCHEDULER_STARTING).
        """
        self.check()
        return await self.run(_what_if, id_, tuple(nodes), time.time())

    async def snapshot(self) -> dict[str, Any]:
        """All that decisions depend on, as JSON.

        Raises:
            UnavailableError: nothing has been looked at yet (SCHEDULER_STARTING).
        """
        self.check()
        return await self.run(snapshot.dump)

    def check(self) -> None:
        """Raise unless there is a state that can be asked.

        Raises:
            UnavailableError: nothing has been looked at yet (SCHEDULER_STARTING).
        """
        if not self.ready:
            raise errors.UnavailableError(
                "the scheduler has not looked at the fleet yet; ask again in a moment",
                reason="SCHEDULER_STARTING",
                retry_after=1.0,
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingPlace:
    """Why work waits; `ahead` is how many of its queue come before it."""

    reasons: tuple[Reason, ...]
    ahead: int = 0


def place_in_line(state: SchedulerState, id_: str, now: float) -> WaitingPlace:
    """Where work stands; nothing is said of what does not wait."""
    reasons = why(state, (id_,), now).get(id_, ())
    work = state.waiting.get(id_)
    if work is None or work.hold is not None:
        return WaitingPlace(reasons=reasons)
    mine = (-work.priority, work.arrival, work.id)
    ahead = sum(
        (-other.priority, other.arrival, other.id) < mine
        for kind in state.waiting.queues.get(work.queue, {}).values()
        for other in kind.members.values()
    )
    return WaitingPlace(reasons=reasons, ahead=ahead)


def _dry_run(state: SchedulerState, work: Workload, nodes: Sequence[Node], now: float) -> Forecast:
    return dry_run(state, work, now, _in_a_pool(state, nodes))


def _what_if(state: SchedulerState, id_: str, nodes: Sequence[Node], now: float) -> Forecast:
    if id_ not in state.waiting:
        # It has been sent a moment ago, or does not wait any more.
        return Forecast(workload=id_, admission=None, reasons=(), decisions=Decisions())
    return what_if(state, id_, _in_a_pool(state, nodes), now)


def _in_a_pool(state: SchedulerState, nodes: Sequence[Node]) -> list[Node]:
    """Nodes of no pool, as nodes of the largest."""
    sizes = state.table.pool_sizes
    largest = max(sorted(sizes), key=sizes.__getitem__, default="")
    labels = {POOL_LABEL: largest}
    return [replace(node, pool=largest, labels=labels) for node in nodes]


def why(state: SchedulerState, ids: Iterable[str], now: float) -> dict[str, tuple[Reason, ...]]:
    """Why some work waits; those that wait for the same are looked at once."""
    found: dict[str, tuple[Reason, ...]] = {}
    classes: dict[int, tuple[Reason, ...]] = {}
    for id_ in ids:
        if id_ not in state.waiting:
            continue
        if id_ in state.waiting.held:
            found[id_] = explain(state, id_, now)
        elif not any(node is not None and node.healthy for node in state.table.nodes):
            found[id_] = (NO_POOL,)
        else:
            kind = state.waiting.class_of(id_)
            if id(kind) not in classes:
                classes[id(kind)] = explain(state, kind.head().id, now)
            found[id_] = classes[id(kind)]
    return found
