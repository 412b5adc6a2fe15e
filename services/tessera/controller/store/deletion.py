"""Jobs that have ended are taken out of the store, with everything that was kept of them."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from tessera import errors
from tessera.controller.policy.job import JobState
from tessera.controller.store.schema import (
    attempts,
    events,
    job_labels,
    jobs,
    metrics,
    outbox,
)

_OF_A_JOB = (outbox, metrics, events, job_labels)


def delete(connection: sa.Connection, job: str) -> None:
    """Delete an ended job of which nothing holds resources; one that is gone is gone.

    Raises:
        FailedPreconditionError: it has not ended, or its attempt is still going (JOB_NOT_ENDED).
    """
    query = sa.select(jobs.c.state).where(jobs.c.id == job).with_for_update()
    state: JobState | None = connection.execute(query).scalar()
    if state is None:
        return
    held = sa.select(attempts.c.job).where(attempts.c.job == job, attempts.c.released.is_(False))
    if not state.terminal or connection.execute(held).first() is not None:
        why = "its last attempt has not gone yet" if state.terminal else "cancel it first"
        raise errors.FailedPreconditionError(
            f"{job} is {state.value}; {why}",
            reason="JOB_NOT_ENDED",
            metadata={"job": job, "state": state.value},
        )
    drop(connection, [job])


def overdue(connection: sa.Connection, now: float, ended_before: float, limit: int) -> list[str]:
    """Ids of some jobs whose time is up: by their own `ttl`, or because they ended long ago."""
    free = ~sa.exists().where(attempts.c.job == jobs.c.id, attempts.c.released.is_(False))
    found: list[str] = []
    for late in (jobs.c.delete_time <= now, jobs.c.end_time <= ended_before):
        query = sa.select(jobs.c.id).where(late, free).limit(limit - len(found))
        found += [job for job in connection.execute(query).scalars() if job not in found]
    return found


def drop(connection: sa.Connection, ids: Sequence[str]) -> None:
    """Delete jobs with all their rows."""
    for table in (*_OF_A_JOB, attempts):
        connection.execute(table.delete().where(table.c.job.in_(ids)))
    connection.execute(jobs.delete().where(jobs.c.id.in_(ids)))


def ended(connection: sa.Connection, ids: Sequence[str], before: float) -> list[str]:
    """Those of some jobs that ended long ago, or that are gone."""
    query = sa.select(jobs.c.id).where(
        jobs.c.id.in_(ids), sa.or_(jobs.c.end_time.is_(None), jobs.c.end_time > before)
    )
    kept = set(connection.execute(query).scalars())
    return [job for job in ids if job not in kept]


def with_rows(
    connection: sa.Connection, table: sa.Table, ended_before: float, limit: int
) -> list[str]:
    """Ids of some jobs that ended long ago and have rows of a table, as events or metrics."""
    has = sa.exists().where(table.c.job == jobs.c.id)
    query = sa.select(jobs.c.id).where(jobs.c.end_time <= ended_before, has).limit(limit)
    return list(connection.execute(query).scalars())


def empty(connection: sa.Connection, table: sa.Table, ids: Sequence[str]) -> None:
    """Delete the rows that jobs have in a table."""
    connection.execute(table.delete().where(table.c.job.in_(ids)))
