"""Brings a scheduler's state to what the store and the pools say. Pure.

Level-triggered: each function may be called again with the same, and changes nothing then.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from tessera.controller.policy import workloads
from tessera.controller.policy.job import JobState
from tessera.controller.policy.records import (
    Attempt,
    Deployment,
    Job,
    NodeMark,
    Placement,
    StoredQueue,
    StoredWorker,
)
from tessera.controller.scheduling.node import EXCLUDED_FROM, Node
from tessera.controller.scheduling.queue import Queue
from tessera.controller.scheduling.state import BoundNode, SchedulerState
from tessera.controller.scheduling.workload import Hold, Workload

EXCLUDED_PART = 3
"""Of so many nodes of a pool one may be excluded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobView:
    """A job, and the attempt that may still hold something."""

    job: Job
    attempt: Attempt | None = None


def put_nodes(
    state: SchedulerState, nodes: Iterable[Node], marks: Mapping[str, NodeMark], now: float
) -> tuple[tuple[BoundNode, ...], tuple[str, ...]]:
    """The nodes that there are, and no others.

    Returns:
        Whose promised nodes have come, and whose nodes have gone.
    """
    seen = {node.id: node for node in marked(tuple(nodes), marks, now)}
    table = state.table
    bound: list[BoundNode] = []
    lost: list[str] = []
    for id_ in [name for name in table.rows if name not in seen]:
        if id_ not in state.growth.pending:
            lost += state.remove_node(id_)
    for node in seen.values():
        row = table.rows.get(node.id)
        if row is None or table.nodes[row] != node:
            bound += state.put_node(node)
    return tuple(bound), tuple(dict.fromkeys(lost))


def marked(nodes: Sequence[Node], marks: Mapping[str, NodeMark], now: float) -> Iterator[Node]:
    """Nodes with what is known of them beside what Ray says.

    Of a pool at most a third are excluded for what has failed on them, the worst first: where more
    fails, the nodes are not at fault, and a pool of one or two would be of no use.
    """
    scores = {node.id: marks[node.id].score(now) for node in nodes if node.id in marks}
    sizes = Counter(node.pool for node in nodes)
    left = {pool: size // EXCLUDED_PART for pool, size in sizes.items()}
    excluded: set[str] = set()
    for node in sorted(nodes, key=lambda node: (-scores.get(node.id, 0.0), node.id)):
        if scores.get(node.id, 0.0) >= EXCLUDED_FROM and left[node.pool]:
            left[node.pool] -= 1
            excluded.add(node.id)
    for node in nodes:
        mark = marks.get(node.id)
        if mark is None:
            yield node
            continue
        score = scores[node.id]
        yield replace(
            node,
            cordoned=mark.cordoned,
            draining=mark.draining,
            failures=score if node.id in excluded else min(score, EXCLUDED_FROM - 0.01),
        )


def put_queues(state: SchedulerState, queues: Iterable[StoredQueue]) -> None:
    """The queues that there are, and no others, beside the platform's own."""
    wanted = {item.queue.name: item.queue for item in queues}
    wanted[workloads.SERVICES_QUEUE] = Queue(name=workloads.SERVICES_QUEUE)
    known = {name: branch.queue for name, branch in state.quotas.branches.items()}
    for name in known.keys() - wanted.keys():
        state.remove_queue(name)
    changed = [queue for name, queue in wanted.items() if known.get(name) != queue]
    if changed:
        state.put_queues(*changed)


def put_job(state: SchedulerState, view: JobView, now: float, *, standing: bool) -> None:
    """A job waits, runs or is over.

    Args:
        state: to be changed.
        view: of the job.
        now: seconds since the epoch.
        standing: the parameter service is there; without it no job starts.
    """
    job, attempt = view.job, view.attempt
    if attempt is not None:
        if job.id in state.allocations:
            return
        if job.id in state.waiting:
            state.finish(job.id, now)
        _hold(state, workloads.of_job(job), attempt.flavour, attempt.workers, attempt.start_time)
    elif job.state is JobState.QUEUED:
        if job.id in state.allocations:
            state.finish(job.id, now)
        arrive(state, workloads.of_job(job, _hold_of(job, now, standing=standing)))
    else:
        state.finish(job.id, now)


def put_standing(
    state: SchedulerState, work: Workload | None, key: str, placement: Placement | None, now: float
) -> None:
    """A deployment, or the parameter service; None: it is not wanted any more.

    A placement without workers is of one that waits for a place again, in the same pool.
    """
    if work is None:
        state.finish(key, now)
    elif placement is None or not placement.workers:
        if key not in state.allocations:
            arrive(state, work)
    elif key not in state.allocations:
        state.finish(key, now)
        _hold(state, work, placement.flavour, placement.workers, placement.start_time)


def put_deployment(
    state: SchedulerState,
    key: str,
    deployment: Deployment | None,
    placement: Placement | None,
    now: float,
) -> None:
    """A deployment that waits, stands, or is gone; one that is being ended holds what it has."""
    gone = deployment is None or (deployment.deleting and placement is None)
    work = None if deployment is None or gone else workloads.of_deployment(deployment)
    put_standing(state, work, key, placement, now)


def place_again(state: SchedulerState, keys: Iterable[str], now: float) -> tuple[str, ...]:
    """Standing work whose node is gone waits for a place again, which is said; jobs end."""
    again = tuple(key for key in keys if is_standing(key) and key in state.allocations)
    for key in again:
        work = state.allocations[key].work
        state.finish(key, now)
        arrive(state, work)
    return again


def leave_draining(state: SchedulerState, now: float) -> tuple[str, ...]:
    """Jobs on nodes that are drained, each once: they are to go, and wait for another place."""
    leaving = []
    for node in state.table.nodes:
        for key in state.on_node.get(node.id, ()) if node is not None and node.draining else ():
            allocation = state.allocations[key]
            if allocation.deadline is None and not is_standing(key):
                leaving.append(key)
                state.preempt(allocation, deadline=now + allocation.work.grace, by="")
    return tuple(leaving)


def is_standing(key: str) -> bool:
    """Whether work is a deployment or the parameter service."""
    return key == workloads.SERVICES or key.startswith("deployment/")


def arrive(state: SchedulerState, work: Workload) -> None:
    """Work waits, unless it waits like this already."""
    if state.waiting.get(work.id) != work:
        state.arrive(work)


def _hold(
    state: SchedulerState,
    work: Workload,
    flavour: str,
    workers: tuple[StoredWorker, ...],
    start: float,
) -> None:
    for worker in workers:
        if worker.group:
            state.promise_node(worker.node, worker.group)
    state.hold(work, workloads.allocated(work, flavour, workers), start)


def _hold_of(job: Job, now: float, *, standing: bool) -> Hold | None:
    if not standing:
        return Hold(
            reason="PARAMETERS_STARTING",
            message="The parameter service, where weights go, is not all there yet.",
        )
    if job.hold is not None:
        told = f": {job.hold.message}" if job.hold.message else ""
        return Hold(
            reason=job.hold.reason.value,
            message=f"{job.hold.reason.value} by {job.hold.by}{told}. `tessera release` lifts it.",
        )
    if job.not_before > now:
        return Hold(
            reason="BACKOFF",
            message=f"Attempt {job.position.attempt + 1} waits a moment after the last failure.",
            until=job.not_before,
        )
    return None
