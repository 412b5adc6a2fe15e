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
from tessera.controller.policy.retry import jittered
from tessera.controller.store import events, outbox, rows
from tessera.controller.store.changes import ChangeKind, touch
from tessera.controller.store.schema import UNFINISHED, job_labels, jobs
from tessera.controller.store.schema import outbox as commands

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
    if new.limits.start_within:
        values["start_deadline"] = now + new.limits.start_within
    connection.execute(jobs.insert().values(**values))
    if new.labels:
        labels = [
            {"tenant": new.tenant, "key": key, "value": value, "job": new.id}
            for key, value in new.labels.items()
        ]
        connection.execute(job_labels.insert(), labels)
    message = f"Accepted from {new.owner}; it waits for room."
    events.append(connection, new.id, type_="state", message=message, now=now)
    touch(connection, ChangeKind.JOB, new.id)
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
    query, place = sa.select(jobs), jobs.c.id
    rest = list(conditions)
    first = next((item for item in rest if item.label), None)
    if first is not None and tenant is not None and not _few(rest):
        # The table of labels has them in the order of the list.
        rest.remove(first)
        query, place = query.join(job_labels, job_labels.c.job == jobs.c.id), job_labels.c.job
        query = query.where(
            job_labels.c.tenant == tenant,
            job_labels.c.key == first.label,
            job_labels.c.value.in_(first.values),
        )
    elif tenant is not None:
        query = query.where(jobs.c.tenant == tenant)
    if before:
        query = query.where(place < before)
    query = query.where(*(_met(item, tenant) for item in rest))
    found = connection.execute(query.order_by(place.desc()).limit(size))
    return [rows.record(Job, row) for row in found]


def _few(conditions: Sequence[Condition]) -> bool:
    """Whether they ask for unfinished jobs alone, of which there are never very many."""
    asked = [item.values for item in conditions if item.column == "state"]
    return any(not JobState(value).terminal for values in asked for value in values)


def _met(condition: Condition, tenant: str | None) -> sa.ColumnElement[bool]:
    """What a row must be like; a label is looked up in a table of its own, for its index."""
    if not condition.label:
        return jobs.c[condition.column].in_(condition.values)
    whose = jobs.c.tenant if tenant is None else sa.literal(tenant)
    labelled = sa.select(job_labels.c.job).where(
        job_labels.c.tenant == whose,
        job_labels.c.key == condition.label,
        job_labels.c.value.in_(condition.values),
        job_labels.c.job == jobs.c.id,
    )
    return labelled.exists()


def of_ids(connection: sa.Connection, ids: Sequence[str]) -> list[Job]:
    """Those of some jobs that exist, oldest first."""
    found = [
        rows.record(Job, row)
        for part in rows.parts(sorted(set(ids)))
        for row in connection.execute(sa.select(jobs).where(jobs.c.id.in_(part)))
    ]
    return sorted(found, key=lambda job: job.id)


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
    connection.execute(jobs.update().where(jobs.c.id == job).values(**_moved(at, change, now)))
    if at.state is JobState.STOPPING:
        # A kill that is due later would hold up what is sent next; whoever lingers is ended anyway.
        outbox.withdraw(connection, job, to.attempt)
    for item in change.commands:
        connection.execute(
            commands.insert().values(
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
    touch(connection, ChangeKind.JOB, job)
    log.info(
        "job moved",
        job_id=job,
        attempt=to.attempt,
        before=at.state.value,
        after=to.state.value,
        why=change.message,
    )
    return change


def _moved(at: Job, change: Transition, now: float) -> dict[str, Any]:
    """Columns of a job that a transition changes."""
    to, limits = change.position, at.limits
    values: dict[str, Any] = {
        "state": to.state,
        "attempt": to.attempt,
        "failures": to.failures,
        "interruptions": to.interruptions,
        "stop_cause": to.stop_cause,
        "stop_message": to.stop_message,
        "streak": to.streak,
        "not_before": now + jittered(change.delay, f"{at.id}-{to.attempt}"),
        "waiting": (),
    }
    if to.state is JobState.STARTING:
        if at.start_time is None:
            values["start_time"] = now
        values["stop_deadline"] = now + limits.time_limit if limits.time_limit else None
    elif to.state is JobState.RUNNING:
        values["start_deadline"] = None
        values["stall_deadline"] = now + limits.stall_timeout if limits.stall_timeout else None
    else:
        values |= {"stop_deadline": None, "stall_deadline": None}
    if to.state.terminal:
        values |= {"end_time": now, "failure": change.failure, "start_deadline": None}
        values["delete_time"] = now + limits.ttl if limits.ttl else None
    return values
