"""Attempts in the store: fenced by number, reports counted once, one outcome."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from tessera import errors
from tessera.attempt.failure import Failure
from tessera.attempt.progress import Progress
from tessera.controller.policy.job import (
    Fail,
    Finish,
    JobState,
    Report,
    Stop,
    Succeed,
)
from tessera.controller.policy.records import Attempt, Job, Note, Numbered, Point
from tessera.controller.policy.retry import faulty_nodes
from tessera.controller.store import events, metrics, nodes, rows
from tessera.controller.store import jobs as store_jobs
from tessera.controller.store.changes import ChangeKind, touch
from tessera.controller.store.encodings import plain
from tessera.controller.store.schema import attempts, jobs

MAX_EVENTS = 10_000
"""Entries of a job's history after which a driver adds none; the controller's own still come."""


def of_job(connection: sa.Connection, job: str) -> list[Attempt]:
    """The attempts of a job, in order."""
    query = sa.select(attempts).where(attempts.c.job == job).order_by(attempts.c.number)
    return [rows.record(Attempt, row) for row in connection.execute(query)]


def of_jobs(connection: sa.Connection, ids: Sequence[str]) -> dict[str, list[Attempt]]:
    """The attempts of several jobs."""
    query = sa.select(attempts).where(attempts.c.job.in_(ids)).order_by(attempts.c.number)
    found: dict[str, list[Attempt]] = {job: [] for job in ids}
    for row in connection.execute(query):
        found[row.job].append(rows.record(Attempt, row))
    return found


def get(connection: sa.Connection, job: str, number: int) -> Attempt:
    """One attempt.

    Raises:
        NotFoundError: there is none (ATTEMPT_NOT_FOUND).
    """
    query = sa.select(attempts).where(attempts.c.job == job, attempts.c.number == number)
    row = connection.execute(query).one_or_none()
    if row is None:
        raise errors.NotFoundError(
            f"job '{job}' has no attempt {number}", reason="ATTEMPT_NOT_FOUND"
        )
    return rows.record(Attempt, row)


def unreleased(connection: sa.Connection) -> list[tuple[Job, Attempt]]:
    """Attempts that may still hold resources, with their jobs."""
    query = (
        sa.select(attempts).where(attempts.c.released.is_(False)).order_by(attempts.c.start_time)
    )
    found = [rows.record(Attempt, row) for row in connection.execute(query)]
    owners = {job.id: job for job in store_jobs.of_ids(connection, [item.job for item in found])}
    return [(owners[attempt.job], attempt) for attempt in found]


def unreleased_of(connection: sa.Connection, ids: Sequence[str]) -> dict[str, Attempt]:
    """Of some jobs, the attempt of each that may still hold resources."""
    found: dict[str, Attempt] = {}
    for part in rows.parts(ids):
        query = sa.select(attempts).where(attempts.c.job.in_(part), attempts.c.released.is_(False))
        for row in connection.execute(query.order_by(attempts.c.number)):
            found[row.job] = rows.record(Attempt, row)
    return found


def current(connection: sa.Connection, job: str, number: int) -> tuple[Job, Attempt]:
    """The job and its newest attempt, which must be `number`.

    Raises:
        FailedPreconditionError: a newer attempt exists (ATTEMPT_FENCED).
        NotFoundError: there is no such job or attempt.
    """
    found = store_jobs.get(connection, job)
    attempt = get(connection, job, number)
    if found.position.attempt != number:
        raise errors.FailedPreconditionError(
            f"attempt {number} of {job} was replaced by attempt {found.position.attempt}; "
            "it must end",
            reason="ATTEMPT_FENCED",
            metadata={"job": job, "attempt": str(found.position.attempt)},
        )
    return found, attempt


def report(
    connection: sa.Connection, job: str, number: int, reports: Sequence[Numbered]
) -> tuple[int, JobState, bool]:
    """Store what is new of a driver's reports.

    Returns:
        The highest number stored, the job's state and whether anything was new.

    Raises:
        FailedPreconditionError: the attempt is not the newest, or has ended (ATTEMPT_FINISHED).
    """
    found, attempt = current(connection, job, number)
    if attempt.end_time is not None:
        raise _ended(job, number)
    if found.state is JobState.STARTING:
        store_jobs.apply(connection, job, Report())
    fresh = sorted(
        (r for r in reports if r.sequence > attempt.report_sequence), key=lambda r: r.sequence
    )
    points = [r.content for r in fresh if isinstance(r.content, Point)]
    progress = [r.content for r in fresh if isinstance(r.content, Progress)]
    if progress:
        values = _further(found, progress[-1])
        connection.execute(jobs.update().where(jobs.c.id == job).values(values))
    if points:
        metrics.add(connection, job, points)
    _note(connection, found, [r.content for r in fresh if isinstance(r.content, Note)])
    highest = fresh[-1].sequence if fresh else attempt.report_sequence
    if fresh:
        connection.execute(_at(job, number).values(report_sequence=highest))
    state = connection.execute(sa.select(jobs.c.state).where(jobs.c.id == job)).scalar_one()
    return highest, state, bool(fresh) or found.state is JobState.STARTING


def _further(job: Job, progress: Progress) -> dict[str, Any]:
    """Columns of a job that progress changes: what got further has not stalled."""
    values: dict[str, Any] = {"progress": progress}
    old = job.progress
    version, at = (0, None) if old is None else (old.version, (old.step, old.phase))
    if progress.version > version:
        values["streak"] = 0
    if job.limits.stall_timeout and not job.state.ending and (progress.step, progress.phase) != at:
        values["stall_deadline"] = time.time() + job.limits.stall_timeout
    return values


def _note(connection: sa.Connection, job: Job, notes: Sequence[Note]) -> None:
    """Add what a driver wants noted, while the history of its job is not full."""
    room = MAX_EVENTS - job.event_sequence
    for note in notes[: max(0, room)]:
        events.append(
            connection, job.id, type_=note.type, message=note.message, details=note.details
        )
    if 0 < room <= len(notes):
        full = f"The history has {MAX_EVENTS} entries; later notes of the driver are dropped."
        events.append(connection, job.id, type_="note", message=full)


def finish(connection: sa.Connection, job: str, number: int, outcome: Finish) -> bool:
    """End an attempt once; False: it had ended in the same way before.

    Raises:
        FailedPreconditionError: it is not the newest, or ended in another way (ATTEMPT_FINISHED).
    """
    _, attempt = current(connection, job, number)
    told = _outcome(outcome)
    row = connection.execute(
        sa.select(attempts.c.end_time, attempts.c.outcome)
        .where(attempts.c.job == job, attempts.c.number == number)
        .with_for_update()
    ).one()
    if row.end_time is not None:
        if json.dumps(row.outcome, sort_keys=True) == json.dumps(told, sort_keys=True):
            return False
        raise _ended(job, number)
    failure = outcome.failure if isinstance(outcome, Fail) else None
    connection.execute(_at(job, number).values(end_time=time.time(), outcome=told, failure=failure))
    store_jobs.apply(connection, job, outcome)
    if failure is not None:
        _blame(connection, attempt, failure)
    return True


def _blame(connection: sa.Connection, attempt: Attempt, failure: Failure) -> None:
    """Count a fault of a node's: once for each job, however often that is tried there.

    Ray gives the ranks of a gang to its workers in an order of its own, so that only of a gang on
    one node it is known where a rank was.
    """
    places = {worker.node for worker in attempt.workers}
    if len(places) != 1:
        return
    ranks = range(-1, len(attempt.workers))
    for node in faulty_nodes(failure, dict.fromkeys(ranks, next(iter(places)))):
        earlier = [item for item in of_job(connection, attempt.job) if item.number < attempt.number]
        if not any(_failed_on(item, node) for item in earlier):
            nodes.blame(connection, node)


def _failed_on(attempt: Attempt, node: str) -> bool:
    return attempt.failure is not None and node in {worker.node for worker in attempt.workers}


def set_launched(connection: sa.Connection, job: str, number: int) -> None:
    """The pool has taken the attempt's submission."""
    connection.execute(_at(job, number).values(launched=True))


def release(connection: sa.Connection, job: str, number: int) -> None:
    """Nothing of the attempt holds resources any more."""
    connection.execute(_at(job, number).values(released=True))
    touch(connection, ChangeKind.JOB, job)


def _at(job: str, number: int) -> sa.Update:
    return attempts.update().where(attempts.c.job == job, attempts.c.number == number)


def _outcome(outcome: Finish) -> dict[str, Any]:
    match outcome:
        case Succeed():
            return {"kind": "success", "version": outcome.version}
        case Stop():
            return {"kind": "stopped", "version": outcome.version}
        case Fail():
            return {"kind": "failure", "failure": plain(outcome.failure)}


def _ended(job: str, number: int) -> errors.FailedPreconditionError:
    return errors.FailedPreconditionError(
        f"attempt {number} of {job} has ended", reason="ATTEMPT_FINISHED"
    )
