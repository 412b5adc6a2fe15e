"""Rows to records and back."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import sqlalchemy as sa

from tessera.controller.policy.demand import Demand
from tessera.controller.policy.job import JobProgress, JobState
from tessera.controller.policy.records import (
    Attempt,
    Deployment,
    EnsureJob,
    Event,
    Job,
    Point,
    Pool,
    Progress,
)
from tessera.controller.policy.retry import Failure, FailureCategory
from tessera.controller.policy.scheduler import Reason


def job(row: sa.Row[Any]) -> Job:
    """A job of its row."""
    return Job(
        id=row.id,
        tenant=row.tenant,
        owner=row.owner,
        name=row.name,
        queue=row.queue,
        priority=row.priority,
        labels=row.labels,
        request_digest=row.request_digest,
        spec=row.spec,
        demand=Demand(
            workers=row.workers,
            cpus=row.cpus_per_worker,
            accelerator=row.accelerator,
            count=row.accelerator_count,
        ),
        publish_set=row.publish_set,
        position=JobProgress(
            state=JobState(row.state),
            attempt=row.attempt,
            failures=row.failures,
            interruptions=row.interruptions,
            retries=row.retries,
        ),
        not_before=row.not_before,
        event_sequence=row.event_sequence,
        waiting=reasons(row.waiting),
        progress=progress(row.progress),
        failure=failure(row.failure),
        create_time=row.create_time,
        start_time=row.start_time,
        end_time=row.end_time,
    )


def attempt(row: sa.Row[Any]) -> Attempt:
    """An attempt of its row."""
    return Attempt(
        job=row.job,
        number=row.number,
        submission_id=row.submission_id,
        pool=row.pool,
        start_time=row.start_time,
        launched=row.launched,
        end_time=row.end_time,
        failure=failure(row.failure),
        released=row.released,
        report_sequence=row.report_sequence,
    )


def event(row: sa.Row[Any]) -> Event:
    """An event of its row."""
    return Event(
        sequence=row.sequence,
        time=row.time,
        type=row.type,
        state=JobState(row.state),
        attempt=row.attempt,
        message=row.message,
        details=row.details,
    )


def point(row: sa.Row[Any]) -> Point:
    """A metric point of its row."""
    return Point(
        attempt=row.attempt,
        step=row.step,
        time=row.time,
        values=row._mapping["values"],  # noqa: SLF001 - SQLAlchemy's public name; `values` is a method of rows
    )


def pool(row: sa.Row[Any]) -> Pool:
    """A pool of its row."""
    return Pool(
        name=row.name,
        dashboard_url=row.dashboard_url,
        ray_address=row.ray_address,
        foreign=row.foreign_use,
    )


def deployment(row: sa.Row[Any]) -> Deployment:
    """A deployment of its row."""
    return Deployment(
        tenant=row.tenant,
        name=row.name,
        owner=row.owner,
        spec=row.spec,
        demand=Demand(
            workers=row.replicas,
            cpus=row.cpus_per_replica,
            accelerator=row.accelerator,
            count=row.accelerator_count,
        ),
        generation=row.generation,
        deleting=row.deleting,
        pool=row.pool,
        waiting=reasons(row.waiting),
        create_time=row.create_time,
    )


def ensure(row: sa.Row[Any]) -> EnsureJob:
    """An ensure job of its row."""
    return EnsureJob(
        key=row.key,
        submission_id=row.submission_id,
        pool=row.pool,
        cluster=row.cluster,
        generation=row.generation,
        status=row.status,
        started=row.started,
        ended=row.ended,
        failures=row.failures,
        message=row.message,
    )


def progress(value: dict[str, Any] | None) -> Progress | None:
    """Progress of its JSON form, which writes numbers that are not finite as null."""
    if not value:
        return None
    metrics = {name: _number(found) for name, found in value.get("metrics", {}).items()}
    return Progress(**{**value, "loss": _number(value["loss"]), "metrics": metrics})


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def clean(value: Any) -> Any:
    """A JSON value without the numbers that JSON does not have."""
    if isinstance(value, Mapping):
        return {key: clean(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [clean(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def failure(value: dict[str, Any] | None) -> Failure | None:
    """A failure of its JSON form."""
    if not value:
        return None
    return Failure(**{**value, "category": FailureCategory(value["category"])})


def from_failure(value: Failure | None) -> dict[str, Any] | None:
    """The JSON form of a failure."""
    return None if value is None else {**asdict(value), "category": value.category.value}


def reasons(value: list[dict[str, str]]) -> tuple[Reason, ...]:
    """Reasons of their JSON form."""
    return tuple(Reason(**item) for item in value)


def from_reasons(value: tuple[Reason, ...]) -> list[dict[str, str]]:
    """The JSON form of reasons."""
    return [asdict(item) for item in value]
