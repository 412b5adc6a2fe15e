"""Jobs of which a limit in time has passed."""

from __future__ import annotations

from collections.abc import Callable

import sqlalchemy as sa

from tessera.controller.policy.job import Expire, JobState
from tessera.controller.policy.stop import StopCause
from tessera.controller.store.jobs import apply
from tessera.controller.store.schema import jobs

_RUNS = (JobState.STARTING, JobState.RUNNING)
_LIMITS: tuple[
    tuple[
        StopCause, sa.Column[float], sa.Column[float], tuple[JobState, ...], Callable[[str], str]
    ],
    ...,
] = (
    (
        StopCause.START_DEADLINE,
        jobs.c.start_deadline,
        jobs.c.start_within,
        (JobState.QUEUED, *_RUNS),
        "It did not run within {} s of its submission (scheduling.start_deadline_seconds).".format,
    ),
    (
        StopCause.TIME_LIMIT,
        jobs.c.stop_deadline,
        jobs.c.time_limit,
        _RUNS,
        "The attempt took the {} s that it may (scheduling.time_limit_seconds).".format,
    ),
    (
        StopCause.STALLED,
        jobs.c.stall_deadline,
        jobs.c.stall_timeout,
        _RUNS,
        "The attempt got no further in {} s (scheduling.stall_timeout_seconds).".format,
    ),
)


def expire(connection: sa.Connection, now: float, limit: int = 100) -> list[str]:
    """Move jobs of which a limit has passed at `now`; returns their ids, of each limit so many."""
    moved: list[str] = []
    for cause, deadline, seconds, states, told in _LIMITS:
        query = (
            sa.select(jobs.c.id, seconds)
            .where(deadline <= now, jobs.c.state.in_(states))
            .order_by(deadline)
            .limit(limit)
        )
        for job, given in connection.execute(query).all():
            message = told(f"{given:g}")
            if apply(connection, job, Expire(cause=cause, message=message)) is not None:
                moved.append(job)
    return moved


def following(connection: sa.Connection) -> float | None:
    """When the next limit passes; None: there is none."""
    found = [
        connection.execute(
            sa.select(sa.func.min(deadline)).where(deadline.is_not(None), jobs.c.state.in_(states))
        ).scalar()
        for _, deadline, _, states, _ in _LIMITS
    ]
    return min((at for at in found if at is not None), default=None)
