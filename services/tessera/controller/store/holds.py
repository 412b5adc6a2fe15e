"""Holds of jobs, and their priority, in the store: said twice, they are as said once."""

from __future__ import annotations

import time
from dataclasses import replace

import sqlalchemy as sa

from tessera import errors
from tessera.controller.policy.hold import HoldReason, JobHold
from tessera.controller.policy.job import JobState, Requeue
from tessera.controller.policy.records import Job
from tessera.controller.policy.stop import StopCause
from tessera.controller.store import events, rows
from tessera.controller.store.changes import ChangeKind, touch
from tessera.controller.store.jobs import apply
from tessera.controller.store.schema import jobs


def hold(connection: sa.Connection, job: str, given: JobHold) -> bool:
    """Hold a job: it runs on, and is not started again. Returns whether that is new.

    Raises:
        FailedPreconditionError: it has ended (JOB_ENDED).
    """
    if _open(connection, job).hold is not None:
        return False
    _hold(connection, job, given)
    return True


def release(connection: sa.Connection, job: str, by: str) -> bool:
    """Let a held or paused job be scheduled again. Returns whether it was held.

    Raises:
        FailedPreconditionError: it has ended (JOB_ENDED).
    """
    if _open(connection, job).hold is None:
        return False
    _set(connection, job, None)
    _note(connection, job, "release", f"Released by {by}; it waits for room.", by)
    return True


def pause(connection: sa.Connection, job: str, by: str, message: str, grace: float) -> bool:
    """Hold a job, and have its attempt commit a version and go. Returns whether that is new.

    Raises:
        FailedPreconditionError: it has ended, or is being cancelled (JOB_ENDED).
    """
    found = _open(connection, job)
    held = found.hold is None or found.hold.reason is not HoldReason.PAUSED
    if held:
        _hold(connection, job, JobHold(reason=HoldReason.PAUSED, by=by, message=message))
    asked = Requeue(cause=StopCause.PAUSED, by=by, message=message, grace=grace)
    return apply(connection, job, asked) is not None or held


def requeue(connection: sa.Connection, job: str, by: str, message: str, grace: float) -> bool:
    """Have the attempt of a job commit a version and go, and the job wait again.

    Returns whether that is new: one that waits, or is stopping already, stays as it is.

    Raises:
        FailedPreconditionError: it has ended, or is being cancelled (JOB_ENDED).
    """
    _open(connection, job)
    asked = Requeue(cause=StopCause.REQUEUED, by=by, message=message, grace=grace)
    return apply(connection, job, asked) is not None


def set_priority(connection: sa.Connection, job: str, priority: int, by: str) -> bool:
    """Change a job's priority, from its next place in the queue on. Returns whether it is new.

    Raises:
        FailedPreconditionError: it has ended, or is being cancelled (JOB_ENDED).
    """
    found = _open(connection, job)
    if found.priority == priority:
        return False
    connection.execute(jobs.update().where(jobs.c.id == job).values(priority=priority))
    touch(connection, ChangeKind.JOB, job)
    told = f"Priority {priority} instead of {found.priority}, set by {by}."
    _note(connection, job, "update", told, by)
    return True


def _open(connection: sa.Connection, job: str) -> Job:
    """The job, locked; it has not ended."""
    query = sa.select(jobs).where(jobs.c.id == job).with_for_update()
    found = rows.record(Job, connection.execute(query).one())
    if found.state.terminal or found.state is JobState.CANCELLING:
        raise errors.FailedPreconditionError(
            f"{job} is {found.state.value}; only a job that has not ended can be changed",
            reason="JOB_ENDED",
            metadata={"job": job, "state": found.state.value},
        )
    return found


def _hold(connection: sa.Connection, job: str, given: JobHold) -> None:
    _set(connection, job, replace(given, time=time.time()))
    told = f": {given.message}" if given.message else "."
    _note(connection, job, "hold", f"{given.reason.value} by {given.by}{told}", given.by)


def _set(connection: sa.Connection, job: str, given: JobHold | None) -> None:
    connection.execute(jobs.update().where(jobs.c.id == job).values(hold=given, waiting=()))
    touch(connection, ChangeKind.JOB, job)


def _note(connection: sa.Connection, job: str, type_: str, message: str, by: str) -> None:
    events.append(connection, job, type_=type_, message=message, details={"by": by})
