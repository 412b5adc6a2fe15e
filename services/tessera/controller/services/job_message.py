"""Jobs as messages."""

from __future__ import annotations

from collections.abc import Sequence

from tessera.api.controller.v1 import job_pb2 as pb
from tessera.api.controller.v1 import spec_pb2
from tessera.attempt.messages import failure_to_pb, progress_to_pb
from tessera.controller.policy.hold import JobHold
from tessera.controller.policy.records import Attempt, Job
from tessera.controller.services import convert


def job_messages(found: Sequence[tuple[Job, Sequence[Attempt]]], *, full: bool) -> list[pb.Job]:
    """Jobs with their attempts; not `full`: without what their specs alone say."""
    return [job_message(job, attempts, full=full) for job, attempts in found]


def job_message(value: Job, attempts: Sequence[Attempt], *, full: bool = True) -> pb.Job:
    """A job with its attempts."""
    return pb.Job(
        name=f"jobs/{value.id}",
        id=value.id,
        spec=_spec(value, full=full),
        state=convert.state(value.state),
        tenant=value.tenant,
        owner=value.owner,
        create_time=convert.timestamp(value.create_time),
        start_time=convert.timestamp(value.start_time),
        end_time=convert.timestamp(value.end_time),
        waiting=convert.waiting(value.waiting),
        attempts=[_attempt_message(item) for item in attempts],
        progress=None if value.progress is None else progress_to_pb(value.progress),
        failure=None if value.failure is None else failure_to_pb(value.failure),
        hold=None if value.hold is None else _hold_message(value.hold),
    )


def _spec(value: Job, *, full: bool) -> spec_pb2.JobSpec:
    """The spec as it now holds: its priority may have been changed."""
    if full:
        spec = convert.from_json(spec_pb2.JobSpec, value.spec)
        spec.priority = value.priority
        return spec
    return spec_pb2.JobSpec(
        name=value.name,
        queue=value.queue,
        priority=value.priority,
        labels=value.labels,
        publish=spec_pb2.PublishSpec(set=value.publish_set),
    )


def _hold_message(value: JobHold) -> pb.JobHold:
    """A hold."""
    return pb.JobHold(
        reason=pb.HoldReason.Value(f"HOLD_REASON_{value.reason.value}"),
        by=value.by,
        message=value.message,
        time=convert.timestamp(value.time),
    )


def _attempt_message(value: Attempt) -> pb.Attempt:
    """An attempt."""
    return pb.Attempt(
        number=value.number,
        submission_id=value.submission_id,
        pool=value.pool,
        start_time=convert.timestamp(value.start_time),
        end_time=convert.timestamp(value.end_time),
        failure=None if value.failure is None else failure_to_pb(value.failure),
        flavour=value.flavour,
        nodes=[worker.place for worker in value.workers],
    )
