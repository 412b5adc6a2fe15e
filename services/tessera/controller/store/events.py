"""Histories of jobs: numbered under the job's row, so without gap or duplicate."""

from __future__ import annotations

import time
from collections.abc import Mapping

import sqlalchemy as sa

from tessera.controller.policy.records import Event
from tessera.controller.store import rows
from tessera.controller.store.schema import events, jobs


def append(
    connection: sa.Connection,
    job: str,
    *,
    type_: str,
    message: str,
    details: Mapping[str, object] | None = None,
    now: float | None = None,
) -> int:
    """Add an event under the job's row; returns its sequence, one more than the last."""
    counter = (
        jobs.update()
        .where(jobs.c.id == job)
        .values(event_sequence=jobs.c.event_sequence + 1)
        .returning(jobs.c.event_sequence, jobs.c.state, jobs.c.attempt)
    )
    sequence, state, attempt = connection.execute(counter).one()
    event = Event(
        sequence=sequence,
        time=time.time() if now is None else now,
        type=type_,
        state=state,
        attempt=attempt,
        message=message,
        details=details or {},
    )
    connection.execute(events.insert().values(job=job, **rows.columns(event)))
    return int(sequence)


def after(connection: sa.Connection, job: str, cursor: int, limit: int = 500) -> list[Event]:
    """The next events after a cursor."""
    query = (
        sa.select(events)
        .where(events.c.job == job, events.c.sequence > cursor)
        .order_by(events.c.sequence)
        .limit(limit)
    )
    return [rows.record(Event, row) for row in connection.execute(query)]
