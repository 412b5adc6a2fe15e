"""Protobuf to the controller's values and back."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, TypeVar

from google.protobuf import json_format, struct_pb2, timestamp_pb2
from google.protobuf.message import Message

from tessera import errors
from tessera.api.controller.v1 import deployment_pb2, job_pb2, pool_pb2, registry_pb2, spec_pb2
from tessera.controller.policy.demand import Demand
from tessera.controller.policy.job import JobState
from tessera.controller.policy.records import Attempt, Event, Job, Note, Point, Pool, Progress
from tessera.controller.policy.registry import Endpoint, Role
from tessera.controller.policy.retry import Failure, FailureCategory
from tessera.controller.policy.scheduler import Reason
from tessera.controller.pools.state import PoolState

M = TypeVar("M", bound=Message)


def to_json(message: Message) -> str:
    """The canonical proto3 JSON of a message, field names as in the .proto."""
    return json_format.MessageToJson(
        message, preserving_proto_field_name=True, indent=None, sort_keys=True
    )


def from_json(kind: type[M], text: str) -> M:
    """The message of stored JSON; fields of a newer build are ignored."""
    return json_format.Parse(text, kind(), ignore_unknown_fields=True)


def digest(message: Message) -> str:
    """sha256 of a message, the same for equal messages of one build."""
    return hashlib.sha256(message.SerializeToString(deterministic=True)).hexdigest()


def timestamp(seconds: float | None) -> timestamp_pb2.Timestamp | None:
    """A protobuf timestamp."""
    if seconds is None:
        return None
    stamp = timestamp_pb2.Timestamp()
    stamp.FromMicroseconds(round(seconds * 1e6))
    return stamp


def state(value: JobState) -> job_pb2.JobState.ValueType:
    """A job's state."""
    return job_pb2.JobState.Value(f"JOB_STATE_{value.value}")


def failure(value: Failure | None) -> job_pb2.Failure | None:
    """A failure, for callers."""
    if value is None:
        return None
    return job_pb2.Failure(
        category=job_pb2.FailureCategory.Value(f"FAILURE_CATEGORY_{value.category.value}"),
        reason=value.reason,
        message=value.message,
        rank=value.rank,
        traceback=value.traceback,
        exit_code=value.exit_code,
    )


def from_failure(value: job_pb2.Failure) -> Failure:
    """A failure, of a driver."""
    name = job_pb2.FailureCategory.Name(value.category).removeprefix("FAILURE_CATEGORY_")
    known = name in FailureCategory.__members__
    return Failure(
        category=FailureCategory[name] if known else FailureCategory.INTERNAL,
        reason=value.reason or "UNKNOWN",
        message=value.message,
        rank=value.rank,
        traceback=value.traceback,
        exit_code=value.exit_code,
    )


def waiting(reasons: Sequence[Reason]) -> list[job_pb2.WaitingReason]:
    """Why something waits."""
    return [job_pb2.WaitingReason(reason=r.reason, message=r.message) for r in reasons]


def progress(value: Progress | None) -> job_pb2.Progress | None:
    """Progress, for callers."""
    if value is None:
        return None
    return job_pb2.Progress(
        step=value.step,
        total_steps=value.total_steps,
        loss=value.loss,
        held_out_loss=value.held_out_loss,
        baseline_loss=value.baseline_loss,
        tokens_per_second=value.tokens_per_second,
        seconds_left=value.seconds_left,
        version=value.version,
        phase=value.phase,
        metrics=value.metrics,
        epoch=value.epoch,
        examples=value.examples,
        held_out_examples=value.held_out_examples,
        steps_per_epoch=value.steps_per_epoch,
        evaluated_examples=value.evaluated_examples,
    )


def from_progress(value: job_pb2.Progress) -> Progress:
    """Progress, of a driver."""
    return Progress(
        step=value.step,
        total_steps=value.total_steps,
        loss=value.loss,
        held_out_loss=value.held_out_loss if value.HasField("held_out_loss") else None,
        baseline_loss=value.baseline_loss if value.HasField("baseline_loss") else None,
        tokens_per_second=value.tokens_per_second,
        seconds_left=value.seconds_left if value.HasField("seconds_left") else None,
        version=value.version,
        phase=value.phase,
        metrics=dict(value.metrics),
        epoch=value.epoch if value.HasField("epoch") else None,
        examples=value.examples,
        held_out_examples=value.held_out_examples,
        steps_per_epoch=value.steps_per_epoch if value.HasField("steps_per_epoch") else None,
        evaluated_examples=value.evaluated_examples,
    )


def attempt(value: Attempt) -> job_pb2.Attempt:
    """An attempt."""
    return job_pb2.Attempt(
        number=value.number,
        submission_id=value.submission_id,
        pool=value.pool,
        start_time=timestamp(value.start_time),
        end_time=timestamp(value.end_time),
        failure=failure(value.failure),
    )


def job(value: Job, attempts: Sequence[Attempt]) -> job_pb2.Job:
    """A job with its attempts."""
    return job_pb2.Job(
        name=f"jobs/{value.id}",
        id=value.id,
        spec=from_json(spec_pb2.JobSpec, value.spec),
        state=state(value.state),
        tenant=value.tenant,
        owner=value.owner,
        create_time=timestamp(value.create_time),
        start_time=timestamp(value.start_time),
        end_time=timestamp(value.end_time),
        waiting=waiting(value.waiting),
        attempts=[attempt(item) for item in attempts],
        progress=progress(value.progress),
        failure=failure(value.failure),
    )


def event(value: Event) -> job_pb2.JobEvent:
    """An entry of a job's history."""
    details = struct_pb2.Struct()
    json_format.ParseDict(dict(value.details), details)
    return job_pb2.JobEvent(
        sequence=value.sequence,
        time=timestamp(value.time),
        type=value.type,
        state=state(value.state),
        attempt=value.attempt,
        message=value.message,
        details=details,
    )


def from_event(value: job_pb2.JobEvent) -> Note:
    """What a driver wants noted; entries of type `state` are the controller's alone."""
    type_ = value.type if value.type and value.type != "state" else "note"
    details: dict[str, Any] = json_format.MessageToDict(value.details)
    return Note(type=type_[:32], message=value.message, details=details)


def point(value: Point) -> job_pb2.MetricPoint:
    """A point of the metrics."""
    return job_pb2.MetricPoint(
        step=value.step, attempt=value.attempt, time=timestamp(value.time), values=value.values
    )


def demand(spec: spec_pb2.JobSpec) -> Demand:
    """What a resolved job asks of a pool."""
    asked = spec.resources
    return Demand(
        workers=asked.workers if asked.HasField("workers") else 1,
        cpus=asked.cpus_per_worker if asked.HasField("cpus_per_worker") else 1.0,
        **_accelerator(asked.accelerator if asked.HasField("accelerator") else None),
    )


def deployment_demand(spec: deployment_pb2.DeploymentSpec) -> Demand:
    """What a resolved deployment asks of a pool."""
    return Demand(
        workers=spec.replicas,
        cpus=spec.cpus_per_replica,
        **_accelerator(spec.accelerator if spec.HasField("accelerator") else None),
    )


def _accelerator(spec: spec_pb2.AcceleratorSpec | None) -> dict[str, Any]:
    if spec is None:
        return {}
    return {"accelerator": spec.type, "count": spec.count if spec.HasField("count") else 1.0}


def endpoint(value: Endpoint, *, live: bool) -> registry_pb2.Endpoint:
    """An endpoint, for callers."""
    return registry_pb2.Endpoint(
        role=registry_pb2.Role.Value(f"ROLE_{value.role.value}"),
        name=value.name,
        incarnation=value.incarnation,
        control_address=value.control_address,
        data_address=value.data_address,
        build=value.build,
        labels=value.labels,
        live=live,
    )


def from_endpoint(value: registry_pb2.Endpoint, tenant: str) -> Endpoint:
    """An endpoint that registers."""
    return Endpoint(
        role=from_role(value.role),
        name=value.name,
        tenant=tenant,
        incarnation=value.incarnation,
        control_address=value.control_address,
        data_address=value.data_address,
        build=value.build,
        labels=dict(value.labels),
    )


def from_role(value: registry_pb2.Role.ValueType) -> Role:
    """A role.

    Raises:
        InvalidArgumentError: it is not set, or unknown (UNKNOWN_ROLE).
    """
    name = registry_pb2.Role.Name(value) if value in registry_pb2.Role.values() else ""
    if (short := name.removeprefix("ROLE_")) not in Role.__members__:
        raise errors.InvalidArgumentError(
            "role: it must be set",
            reason="UNKNOWN_ROLE",
            violations=[errors.Violation("role", "must be set")],
        )
    return Role[short]


def pool(value: PoolState, held: dict[str, float]) -> pool_pb2.Pool:
    """A pool, for callers."""
    return pool_pb2.Pool(
        name=value.pool.name,
        dashboard_url=value.pool.dashboard_url,
        ray_address=value.pool.ray_address,
        total=value.capacity.total(),
        held=held,
        foreign=value.pool.foreign,
        ray_available=value.available,
        live=value.live,
        message=value.message,
    )


def from_pool(value: pool_pb2.Pool) -> Pool:
    """A pool that is registered."""
    return Pool(
        name=value.name,
        dashboard_url=value.dashboard_url,
        ray_address=value.ray_address,
        foreign=dict(value.foreign),
    )
