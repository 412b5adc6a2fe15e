"""Jobs in the store. Each function is the whole or a part of one transaction."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import sqlalchemy as sa
import structlog

from tessera import errors
from tessera.controller.policy.filters import Condition
from tessera.controller.policy.job import Input, JobState, Transition, transition
from tessera.controller.policy.quotas import Quota
from tessera.controller.policy.records import Job
from tessera.controller.store import events, rows
from tessera.controller.store.schema import UNFINISHED, jobs, outbox

log = structlog.get_logger()


def create(connection: sa.Connection, new: Job, quota: Quota) -> tuple[Job, bool]:
    """Accept a job; returns it and whether it is new.

    Raises:
        ResourceExhaustedError: as many are open as may be (QUOTA_EXCEEDED).
        AlreadyExistsError: its request_id was used with another body (REQUEST_ID_REUSED).
        FailedPreconditionError: another unfinished job publishes to its set (SET_IN_USE).
    """
    if (known := by_request(connection, new.tenant, new.request_id)) is not None:
        return check_same(known, new.request_id, new.request_digest), False
    check_set(connection, new.tenant, new.publish_set)
    _check_quota(connection, new.tenant, new.owner, quota)
    now = time.time()
    values = rows.columns(replace(new, create_time=now))
    connection.execute(jobs.insert().values(**values))
    message = f"Accepted from {new.owner}; it waits for room."
    events.append(connection, new.id, type_="state", message=message, now=now)
    return get(connection, new.id), True


def welcome(
    connection: sa.Connection, tenant: str, owner: str, request_id: str, quota: Quota | None
) -> Job | None:
    """The job that a request made, if it did; else whether one more may be made, as it looks now.

    Raises:
        ResourceExhaustedError: as many are open as may be (QUOTA_EXCEEDED); not without a quota.
    """
    known = by_request(connection, tenant, request_id)
    if known is None and quota is not None:
        _check_quota(connection, tenant, owner, quota)
    return known


def _check_quota(connection: sa.Connection, tenant: str, owner: str, quota: Quota) -> None:
    open_ = _open(connection, tenant)
    own = open_.get(owner, 0)
    quota.check(tenant, owner, of_tenant=sum(open_.values()), of_principal=own)


def _open(connection: sa.Connection, tenant: str) -> dict[str, int]:
    """How many jobs of a tenant have not ended, by owner; read off the index `jobs_open` alone."""
    count = sa.select(jobs.c.owner, sa.func.count()).group_by(jobs.c.owner)
    found = connection.execute(count.where(jobs.c.tenant == tenant, UNFINISHED))
    return {row[0]: row[1] for row in found}


def by_request(connection: sa.Connection, tenant: str, request_id: str) -> Job | None:
    """The job that a request made, if it did."""
    if not request_id:
        return None
    query = sa.select(jobs).where(jobs.c.tenant == tenant, jobs.c.request_id == request_id)
    row = connection.execute(query).one_or_none()
    return None if row is None else rows.record(Job, row)


def check_same(known: Job, request_id: str, digest: str) -> Job:
    """The job of an earlier request with the same id, if the body is the same too."""
    if known.request_digest != digest:
        raise errors.AlreadyExistsError(
            f"request_id '{request_id}' already made {known.id} from another spec; "
            "send the same spec again, or another request_id",
            reason="REQUEST_ID_REUSED",
            violations=[errors.Violation("request_id", "used with another spec")],
            metadata={"job": known.id},
        )
    return known


def check_set(connection: sa.Connection, tenant: str, name: str) -> None:
    """Raise FailedPreconditionError if an unfinished job publishes to a set (SET_IN_USE)."""
    query = sa.select(jobs.c.id).where(
        jobs.c.tenant == tenant,
        jobs.c.publish_set == name,
        UNFINISHED,
    )
    if (other := connection.execute(query).scalar()) is not None:
        raise errors.FailedPreconditionError(
            f"publish.set: '{name}' is being written by {other}; "
            "choose another set, or wait until that job has ended",
            reason="SET_IN_USE",
            violations=[errors.Violation("spec.publish.set", f"in use by {other}")],
            metadata={"job": other},
        )


def get(connection: sa.Connection, job: str, *, tenant: str | None = None) -> Job:
    """One job; `tenant` None reads across tenants.

    Raises:
        NotFoundError: there is none, or it belongs to another tenant (JOB_NOT_FOUND).
    """
    query = sa.select(jobs).where(jobs.c.id == job)
    row = connection.execute(query).one_or_none()
    if row is None or (tenant is not None and row.tenant != tenant):
        raise errors.NotFoundError(
            f"there is no job '{job}'; `tessera jobs` lists them",
            reason="JOB_NOT_FOUND",
            metadata={"job": job},
        )
    return rows.record(Job, row)


def page(
    connection: sa.Connection,
    *,
    tenant: str | None,
    conditions: Sequence[Condition],
    before: str,
    size: int,
) -> list[Job]:
    """At most `size` jobs, newest first, older than the id `before` (empty: from the newest)."""
    query = sa.select(jobs).order_by(jobs.c.id.desc()).limit(size)
    if tenant is not None:
        query = query.where(jobs.c.tenant == tenant)
    if before:
        query = query.where(jobs.c.id < before)
    for condition in conditions:
        column: sa.ColumnElement[Any] = (
            jobs.c.labels[condition.label].as_string()
            if condition.label
            else jobs.c[condition.column]
        )
        query = query.where(column.in_(condition.values))
    return [rows.record(Job, row) for row in connection.execute(query)]


def in_states(connection: sa.Connection, *states: JobState) -> list[Job]:
    """Every job in one of the states, oldest first."""
    query = sa.select(jobs).where(jobs.c.state.in_(states)).order_by(jobs.c.id)
    return [rows.record(Job, row) for row in connection.execute(query)]


def apply(connection: sa.Connection, job: str, given: Input) -> Transition | None:
    """Move a job by one input: its state, its event and its commands, in this transaction.

    Raises:
        FailedPreconditionError: the input does not belong to the state (ILLEGAL_TRANSITION).
    """
    locked = sa.select(jobs).where(jobs.c.id == job).with_for_update()
    at = rows.record(Job, connection.execute(locked).one())
    change = transition(at.position, given)
    if change is None:
        return None
    now = time.time()
    to = change.position
    values = _moved(change, now, first=at.start_time is None)
    connection.execute(jobs.update().where(jobs.c.id == job).values(**values))
    for item in change.commands:
        connection.execute(
            outbox.insert().values(
                kind=item.kind.value,
                job=job,
                attempt=to.attempt,
                due=now + item.delay,
                tries=0,
                error="",
            )
        )
    events.append(
        connection, job, type_="state", message=change.message, details=change.details, now=now
    )
    log.info(
        "job moved",
        job_id=job,
        attempt=to.attempt,
        before=at.state.value,
        after=to.state.value,
        why=change.message,
    )
    return change


def _moved(change: Transition, now: float, *, first: bool) -> dict[str, Any]:
    """Columns of a job that a transition changes; `first`: it has never been started."""
    to = change.position
    values: dict[str, Any] = {
        "state": to.state,
        "attempt": to.attempt,
        "failures": to.failures,
        "interruptions": to.interruptions,
        "not_before": now + change.delay,
        "waiting": (),
    }
    if to.state is JobState.STARTING and first:
        values["start_time"] = now
    if to.state.terminal:
        values["end_time"] = now
        values["failure"] = change.failure
    return values
