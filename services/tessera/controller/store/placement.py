"""What the scheduler decides about a job, in the store."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import sqlalchemy as sa

from tessera.controller.policy.job import Admit, JobState, Requeue
from tessera.controller.policy.records import Attempt, StoredWorker
from tessera.controller.scheduling.decisions import Reason
from tessera.controller.store import events, rows
from tessera.controller.store.jobs import apply
from tessera.controller.store.schema import attempts, jobs


def set_waiting(connection: sa.Connection, job: str, waiting: tuple[Reason, ...]) -> bool:
    """Store why a queued job waits; an event tells of a new first reason. Returns whether changed.

    Figures change all the time, so they alone make no event.
    """
    query = sa.select(jobs.c.state, jobs.c.waiting, jobs.c.hold).where(jobs.c.id == job)
    row = connection.execute(query.with_for_update()).one_or_none()
    if row is None or row.state is not JobState.QUEUED or row.hold is not None:
        return False
    if (old := row.waiting) == waiting:
        return False
    connection.execute(jobs.update().where(jobs.c.id == job).values(waiting=waiting))
    if [r.code for r in old[:1]] != [r.code for r in waiting[:1]] and waiting:
        first = waiting[0]
        events.append(
            connection,
            job,
            type_="waiting",
            message=first.message,
            details={"reason": first.code, **first.about},
        )
    return True


def admit(
    connection: sa.Connection,
    job: str,
    *,
    pool: str,
    flavour: str = "",
    workers: Sequence[StoredWorker] = (),
) -> bool:
    """Give a queued job its next attempt and places; False: it is not queued, or is held by now."""
    query = sa.select(jobs.c.state, jobs.c.hold).where(jobs.c.id == job).with_for_update()
    row = connection.execute(query).one_or_none()
    if row is None or row.state is not JobState.QUEUED or row.hold is not None:
        return False
    change = apply(connection, job, Admit(pool=pool))
    assert change is not None
    number = change.position.attempt
    new = Attempt(
        job=job,
        number=number,
        submission_id=f"{job}-{number}",
        pool=pool,
        start_time=time.time(),
        flavour=flavour,
        workers=tuple(workers),
    )
    connection.execute(attempts.insert().values(**rows.columns(new)))
    return True


def move(connection: sa.Connection, job: str, workers: Sequence[StoredWorker]) -> None:
    """Nodes that were promised to the attempt of a job that holds something have come."""
    mine = sa.and_(attempts.c.job == job, attempts.c.released.is_(False))
    connection.execute(attempts.update().where(mine).values(workers=tuple(workers)))


def leave(connection: sa.Connection, leaving: Mapping[str, Requeue]) -> None:
    """Have attempts of jobs commit a version and go; those that end anyhow are left to it."""
    for job, asked in leaving.items():
        state = connection.execute(sa.select(jobs.c.state).where(jobs.c.id == job)).scalar()
        if state in {JobState.STARTING, JobState.RUNNING}:
            apply(connection, job, asked)
