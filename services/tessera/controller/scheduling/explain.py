"""Why work waits, as things stand after a pass: ranked reasons, each of which is true. Pure.

Whoever removes the cause that the first reason names brings the work nearer to its start: what is
said to hold the room does hold it, and what it is kept for is there. `dry_run` and `what_if` ask a
copy of the state.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tessera.controller.scheduling import snapshot
from tessera.controller.scheduling.decisions import Admission, Decisions, Reason
from tessera.controller.scheduling.node import Node
from tessera.controller.scheduling.obstacles import Obstacles
from tessera.controller.scheduling.schedule import schedule
from tessera.controller.scheduling.state import SchedulerState
from tessera.controller.scheduling.workload import Workload


def explain(state: SchedulerState, id_: str, now: float) -> tuple[Reason, ...]:
    """Why work waits, the most important first; nothing: it runs.

    Raises:
        KeyError: there is no such work.
    """
    if id_ in state.allocations:
        return ()
    work = state.waiting.get(id_)
    if work is None:
        raise KeyError(id_)
    if work.hold is not None:
        return (Reason(code=work.hold.reason, message=work.hold.message, about={}),)
    return Obstacles(state=state, work=work, now=now).reasons()


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What a pass would decide about work: it starts, or it waits for reasons.

    Args:
        workload: its id.
        pool: where it starts; empty: it waits.
        admission: its places; None: it waits.
        reasons: why.
        decisions: all that the pass would decide.
    """

    workload: str
    pool: str = ""
    admission: Admission | None
    reasons: tuple[Reason, ...]
    decisions: Decisions


def dry_run(
    state: SchedulerState, work: Workload, now: float, nodes: Iterable[Node] = ()
) -> Forecast:
    """What would become of work that is sent now, if there were more nodes; nothing is changed."""
    copy = snapshot.copy(state)
    for node in nodes:
        copy.put_node(node)
    copy.arrive(work)
    return _forecast(copy, work.id, now)


def what_if(state: SchedulerState, id_: str, nodes: Iterable[Node], now: float) -> Forecast:
    """What would become of work that waits if there were more nodes; nothing is changed."""
    copy = snapshot.copy(state)
    for node in nodes:
        copy.put_node(node)
    return _forecast(copy, id_, now)


def _forecast(state: SchedulerState, id_: str, now: float) -> Forecast:
    decisions = schedule(state, now)
    admission = next((each for each in decisions.admissions if each.workload == id_), None)
    nodes = [] if admission is None else sorted(state.allocations[id_].nodes)
    return Forecast(
        workload=id_,
        pool=state.table.node(state.table.rows[nodes[0]]).pool if nodes else "",
        admission=admission,
        reasons=explain(state, id_, now),
        decisions=decisions,
    )
