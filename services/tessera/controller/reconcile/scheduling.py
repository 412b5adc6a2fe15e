"""Gives waiting jobs and deployments their places, or tells them why they wait.

What has changed is noted in the store with what changed it (`store.changes`). A round takes the
notes up, brings the scheduler's state to what the store and the pools say, runs a pass, and stores
what was decided. After an error, or when this controller begins to lead, everything is read again.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import sqlalchemy as sa
import structlog

from tessera.controller.policy import sync, workloads
from tessera.controller.policy.job import JobState, Requeue
from tessera.controller.policy.leaving import leaving
from tessera.controller.policy.records import (
    Deployment,
    NodeMark,
    Placement,
    StoredGroup,
    StoredQueue,
    StoredWorker,
)
from tessera.controller.policy.registry import EndpointRole
from tessera.controller.pools.nodes import group_of
from tessera.controller.runtime import Runtime
from tessera.controller.scheduler import why
from tessera.controller.scheduling.decisions import Reason
from tessera.controller.scheduling.node import Node
from tessera.controller.scheduling.schedule import schedule
from tessera.controller.scheduling.state import SchedulerState
from tessera.controller.signals import OUTBOX, SERVICES, job_key
from tessera.controller.store import (
    attempts,
    changes,
    deployments,
    nodes,
    placement,
    placements,
    pools,
    queues,
)
from tessera.controller.store import jobs as store
from tessera.controller.store.changes import Change, ChangeKind

log = structlog.get_logger()

IDLE_PAUSE = 2.0
"""Seconds between looks at the notes: another controller may have left some."""
AT_ONCE = 200
"""Admissions that are stored in one transaction."""
EXPLAINED = 100
"""Pieces of work that one round explains; whoever asks for a job has it explained then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What the store says of what has changed.

    Args:
        changes: that are looked at.
        jobs: that have changed.
        deployments: the same; None: gone.
        placements: of all standing work.
        queues: all, where one has changed.
        marks: of all nodes.
        groups: of nodes, by name.
    """

    changes: list[Change]
    jobs: tuple[sync.JobView, ...]
    deployments: Mapping[str, Deployment | None]
    placements: Mapping[str, Placement]
    queues: tuple[StoredQueue, ...] | None
    marks: Mapping[str, NodeMark]
    groups: tuple[StoredGroup, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stand:
    """What else a round knows.

    Args:
        nodes: of all pools.
        shards: of the parameter service.
        services_pool: where it is, or will be; empty: no pool is there.
        standing: it is all there.
    """

    nodes: tuple[Node, ...]
    shards: int
    services_pool: str
    standing: bool


@dataclass(slots=True, kw_only=True)
class RoundResult:
    """What a round has decided, as it is stored.

    Args:
        placements: by job, or by key of standing work: pool, flavour, workers.
        moved: work whose promised nodes have come, with its workers; none: it has lost them.
        leaving: jobs whose attempts are to go, and why.
        reasons: why work waits, of some of it.
        pause: seconds until something changes by itself.
    """

    placements: dict[str, Placement] = field(default_factory=dict)
    moved: dict[str, tuple[StoredWorker, ...]] = field(default_factory=dict)
    leaving: Mapping[str, Requeue] = field(default_factory=dict)
    reasons: dict[str, tuple[Reason, ...]] = field(default_factory=dict)
    pause: float = IDLE_PAUSE


class SchedulingLoop:
    """One pass of the scheduler each time something may have changed."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._database = runtime.database
        self._standing: bool | None = None

    async def round(self) -> float:
        """Look, decide, store; returns the seconds until the next round."""
        try:
            return await self._round()
        except BaseException:
            # What was decided and not stored must not be believed.
            await self._runtime.scheduler.reset()
            raise

    async def _round(self) -> float:
        scheduler = self._runtime.scheduler
        if self._standing is None:
            # What is left of an earlier lead is of no account.
            await scheduler.reset()
        stand = self._stand()
        whole = not scheduler.ready or stand.standing != self._standing
        self._standing = stand.standing
        seen = await self._database.read(_everything if whole else _changed)
        result = await scheduler.run(step, seen, stand, time.time())
        await self._store(seen, result)
        scheduler.fill()
        return 0.0 if len(seen.changes) >= changes.BATCH else result.pause

    def _stand(self) -> Stand:
        states = self._runtime.pools.all()
        shards = self._runtime.config.shards
        registry = self._runtime.registry
        standing = not shards or (
            bool(registry.resolve(EndpointRole.COORDINATOR))
            and len(registry.resolve(EndpointRole.SHARD)) >= shards
        )
        return Stand(
            nodes=tuple(node for state in states for node in state.offered()),
            shards=shards,
            services_pool=states[0].pool.name if states else "",
            standing=standing,
        )

    async def _store(self, seen: Seen, result: RoundResult) -> None:
        placed = list(result.placements.values())
        for start in range(0, len(placed), AT_ONCE):
            await self._database.write(_admit, placed[start : start + AT_ONCE])
        if result.leaving:
            await self._database.write(placement.leave, result.leaving)
        if seen.changes or result.moved or result.reasons:
            await self._database.write(_tell, seen, result)
        jobs = [key for key in (*result.placements, *result.reasons) if not sync.is_standing(key)]
        self._runtime.signals.wake(*(job_key(job) for job in jobs))
        if placed or result.leaving:
            self._runtime.signals.wake(OUTBOX, SERVICES)


def step(state: SchedulerState, seen: Seen, stand: Stand, now: float) -> RoundResult:
    """Bring a state to what was seen, and run a pass."""
    result = RoundResult()
    if seen.queues is not None:
        sync.put_queues(state, seen.queues)
    _put_groups(state, seen.groups)
    bound, lost = sync.put_nodes(state, stand.nodes, seen.marks, now)
    _put_work(state, seen, stand, now)
    again = sync.place_again(state, lost, now)
    drained = sync.leave_draining(state, now)
    decided = schedule(state, now)
    result.leaving = leaving(
        decided.preemptions, drained, [key for key in lost if not sync.is_standing(key)]
    )
    for admission in decided.admissions:
        workers = workloads.stored(admission)
        allocation = state.allocations[admission.workload]
        first = state.table.node(state.table.rows[workers[0].node])
        result.placements[admission.workload] = Placement(
            key=admission.workload,
            pool=first.pool,
            flavour=admission.flavour,
            workers=workers,
            start_time=allocation.start,
        )
    # What has lost its place and found no other: what is stored would be believed.
    result.moved = {key: () for key in again if key not in result.placements}
    for item in bound:
        allocation = state.allocations[item.workload]
        result.moved[item.workload] = tuple(
            StoredWorker(
                node=worker.node,
                devices=worker.devices,
                group=state.growth.pending.get(worker.node, ""),
            )
            for worker in allocation.workers
        )
    told = [view.job.id for view in seen.jobs] + list(seen.deployments)
    result.reasons = why(state, _first([*decided.waiting, *told], EXPLAINED), now)
    result.pause = _pause(state, now)
    return result


def _first(ids: Iterable[str], most: int) -> list[str]:
    return list(dict.fromkeys(ids))[:most]


def _put_groups(state: SchedulerState, groups: Sequence[StoredGroup]) -> None:
    known = state.growth.groups
    wanted = {group.name: group for group in map(group_of, groups)}
    for name in known.keys() - wanted.keys():
        state.remove_group(name)
    for name, group in wanted.items():
        if known.get(name) != group:
            state.put_group(group)


def _put_work(state: SchedulerState, seen: Seen, stand: Stand, now: float) -> None:
    services = seen.placements.get(workloads.SERVICES)
    if stand.shards and (services or stand.services_pool):
        pool = services.pool if services else stand.services_pool
        work = workloads.of_services(stand.shards, pool)
        sync.put_standing(state, work, workloads.SERVICES, services, now)
    for key, deployment in seen.deployments.items():
        sync.put_deployment(state, key, deployment, seen.placements.get(key), now)
    for view in seen.jobs:
        sync.put_job(state, view, now, standing=stand.standing)


def _pause(state: SchedulerState, now: float) -> float:
    """Seconds until something changes by itself, at most IDLE_PAUSE."""
    times = [state.wake_at, state.waiting.next_release()]
    return min([IDLE_PAUSE, *(max(0.0, at - now) for at in times if at is not None)])


def _everything(connection: sa.Connection) -> Seen:
    """All that is not over. Notes are read first: what comes meanwhile is looked at again."""
    taken = changes.pending(connection)
    holding = attempts.unreleased(connection)
    held = {job.id: attempt for job, attempt in holding}
    open_ = {job.id: job for job, _ in holding}
    waiting = store.in_states(connection, *(s for s in JobState if not s.terminal))
    open_ |= {job.id: job for job in waiting}
    # What runs holds its places before anything is given away.
    ordered = sorted(open_.values(), key=lambda job: (job.id not in held, job.id))
    return Seen(
        changes=taken,
        jobs=tuple(sync.JobView(job=job, attempt=held.get(job.id)) for job in ordered),
        deployments={item.key: item for item in deployments.every(connection)},
        placements=placements.every(connection),
        queues=tuple(queues.every(connection)),
        marks=nodes.marks(connection),
        groups=pools.groups(connection),
    )


def _changed(connection: sa.Connection) -> Seen:
    taken = changes.pending(connection)
    ids = {kind: _keys(taken, kind) for kind in ChangeKind}
    held = attempts.unreleased_of(connection, ids[ChangeKind.JOB])
    known = {}
    if ids[ChangeKind.DEPLOYMENT]:
        known = {item.key: item for item in deployments.every(connection)}
    return Seen(
        changes=taken,
        jobs=tuple(
            sync.JobView(job=job, attempt=held.get(job.id))
            for job in store.of_ids(connection, ids[ChangeKind.JOB])
        ),
        deployments={key: known.get(key) for key in ids[ChangeKind.DEPLOYMENT]},
        placements=placements.every(connection),
        queues=tuple(queues.every(connection)) if ids[ChangeKind.QUEUES] else None,
        marks=nodes.marks(connection),
        groups=pools.groups(connection),
    )


def _keys(taken: Sequence[Change], kind: ChangeKind) -> list[str]:
    return list(dict.fromkeys(change.key for change in taken if change.kind is kind))


def _admit(connection: sa.Connection, placed: Sequence[Placement]) -> None:
    """Store places; what wants none any more has left a note of it."""
    for item in placed:
        if item.key == workloads.SERVICES:
            placements.put(connection, item)
        elif sync.is_standing(item.key):
            _, tenant, name = item.key.split("/")
            deployments.place(connection, tenant, name, item)
        else:
            placement.admit(
                connection, item.key, pool=item.pool, flavour=item.flavour, workers=item.workers
            )


def _tell(connection: sa.Connection, seen: Seen, result: RoundResult) -> None:
    """Store what else was found out, and drop the notes."""
    for key, workers in result.moved.items():
        if sync.is_standing(key):
            placements.move(connection, key, workers)
        else:
            placement.move(connection, key, workers)
    for key, reasons in result.reasons.items():
        if not sync.is_standing(key):
            placement.set_waiting(connection, key, reasons)
        elif key != workloads.SERVICES:
            _, tenant, name = key.split("/")
            deployments.set_waiting(connection, tenant, name, reasons)
    changes.drop(connection, seen.changes)
