"""Gives waiting jobs and deployments their place, or tells them why they wait."""

from __future__ import annotations

import time
from dataclasses import dataclass

import sqlalchemy as sa

from tessera.controller.policy.job import JobState
from tessera.controller.policy.records import Deployment, Job
from tessera.controller.policy.registry import EndpointRole
from tessera.controller.policy.scheduler import (
    Admission,
    Decision,
    PlacementRequest,
    Reason,
    Snapshot,
    schedule,
)
from tessera.controller.runtime import Runtime
from tessera.controller.signals import OUTBOX, SERVICES, job_key
from tessera.controller.store import attempts, deployments, placement
from tessera.controller.store import jobs as store

WAITING_PAUSE = 1.0
IDLE_PAUSE = 15.0
DEPLOYMENT_PRIORITY = 1001
"""Deployments come before every job: they are small, and people wait for them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """What has no place yet; `ending` are jobs whose last attempt still holds resources."""

    jobs: tuple[Job, ...]
    deployments: tuple[Deployment, ...]
    ending: frozenset[str]


class AdmissionLoop:
    """One pass of the scheduler each time something may have changed."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    async def round(self) -> float:
        """Decide and apply; returns the seconds until the next round."""
        waiting = await self._runtime.database.read(_waiting)
        if not waiting.jobs and not waiting.deployments:
            return IDLE_PAUSE
        snapshot = Snapshot(
            pools=tuple(state.view() for state in self._runtime.pools.all()),
            reservations=await self._runtime.reservations(),
            requests=tuple(requests(waiting, time.time(), standing=self._standing())),
        )
        decisions = schedule(snapshot)
        await self._runtime.database.write(_apply, decisions)
        self._wake(decisions)
        return WAITING_PAUSE

    def _standing(self) -> bool:
        """Whether the parameter service is there; without one there is nothing to wait for."""
        shards = self._runtime.config.shards
        registry = self._runtime.registry
        return not shards or (
            bool(registry.resolve(EndpointRole.COORDINATOR))
            and len(registry.resolve(EndpointRole.SHARD)) >= shards
        )

    def _wake(self, decisions: list[Decision]) -> None:
        signals = self._runtime.signals
        signals.wake(*(job_key(decision.key) for decision in decisions))
        if any(isinstance(decision, Admission) for decision in decisions):
            signals.wake(OUTBOX, SERVICES)


def requests(waiting: Waiting, now: float, *, standing: bool) -> list[PlacementRequest]:
    """What the scheduler is asked for; `standing`: the parameter service is there."""
    asked = [
        PlacementRequest(
            key=item.key,
            title=f"deployment {item.name}",
            demand=item.demand,
            priority=DEPLOYMENT_PRIORITY,
            rank=f"{item.create_time:020.6f}",
        )
        for item in waiting.deployments
    ]
    return asked + [
        PlacementRequest(
            key=job.id,
            title=job.id,
            demand=job.demand,
            priority=job.priority,
            rank=job.id,
            hold=_hold(job, waiting, now, standing=standing),
        )
        for job in waiting.jobs
    ]


def _hold(job: Job, waiting: Waiting, now: float, *, standing: bool) -> Reason | None:
    if not standing:
        return Reason(
            reason="PARAMETERS_STARTING",
            message="The parameter service, where weights go, is not all there yet.",
        )
    if job.id in waiting.ending:
        return Reason(
            reason="PREVIOUS_ATTEMPT_ENDING",
            message=f"Attempt {job.position.attempt} has not given its resources back yet.",
        )
    if job.not_before > now:
        return Reason(
            reason="BACKOFF",
            message=f"Attempt {job.position.attempt + 1} waits a moment after the last failure.",
        )
    return None


def _waiting(connection: sa.Connection) -> Waiting:
    queued = store.in_states(connection, JobState.QUEUED)
    return Waiting(
        jobs=tuple(job for job in queued if job.hold is None),
        deployments=tuple(
            item for item in deployments.every(connection) if not item.pool and not item.deleting
        ),
        ending=frozenset(job.id for job, _ in attempts.unreleased(connection)),
    )


def _apply(connection: sa.Connection, decisions: list[Decision]) -> None:
    for decision in decisions:
        if decision.key.startswith("deployment/"):
            _, tenant, name = decision.key.split("/")
            if isinstance(decision, Admission):
                deployments.place(connection, tenant, name, decision.pool)
            else:
                deployments.set_waiting(connection, tenant, name, decision.reasons)
        elif isinstance(decision, Admission):
            placement.admit(connection, decision.key, decision.pool)
        else:
            placement.set_waiting(connection, decision.key, decision.reasons)
