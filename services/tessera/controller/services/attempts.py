"""AttemptService: how drivers report; fenced by the caller's token and by the attempt's number."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Mapping
from typing import Any
from weakref import WeakValueDictionary

from tessera import errors
from tessera.api.controller.v1 import attempt_pb2 as pb
from tessera.api.controller.v1 import attempt_pb2_grpc as pb_grpc
from tessera.api.controller.v1 import job_pb2, spec_pb2
from tessera.attempt.messages import MAX_DETAILS, failure_from_pb, progress_from_pb
from tessera.controller.policy.job import Fail, Finish, Stop, Succeed
from tessera.controller.policy.records import Note, Numbered, Point
from tessera.controller.policy.retry import as_told
from tessera.controller.pools.nodes import selector
from tessera.controller.runtime import Runtime
from tessera.controller.services import convert
from tessera.controller.signals import ADMISSION, OUTBOX, job_key, logs_key, metrics_key
from tessera.controller.store import attempts as store


class AttemptService(pb_grpc.AttemptServiceServicer):
    """What drivers call."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        # A lock is there while somebody holds it or waits for it.
        self._files: WeakValueDictionary[tuple[str, int, str], asyncio.Lock] = WeakValueDictionary()

    async def GetAttempt(
        self, request: pb.GetAttemptRequest, context: Any
    ) -> pb.GetAttemptResponse:
        """What to run."""
        del context
        job, number = request.ref.job, request.ref.attempt
        found, attempt = await self._runtime.database.read(store.current, job, number)
        spec = convert.from_json(spec_pb2.JobSpec, found.spec)
        if attempt.flavour and spec.resources.HasField("accelerator"):
            spec.resources.accelerator.type = attempt.flavour
        places = [pb.WorkerPlace(label_selector=selector(item)) for item in attempt.workers]
        return pb.GetAttemptResponse(
            spec=spec, tenant=found.tenant, owner=found.owner, workers=places
        )

    async def ReportAttempt(
        self, request: pb.ReportAttemptRequest, context: Any
    ) -> pb.ReportAttemptResponse:
        """Store reports; those that are known are ignored."""
        del context
        job, number = request.ref.job, request.ref.attempt
        reports = [numbered for item in request.reports if (numbered := _numbered(item, number))]
        highest, state, fresh = await self._runtime.database.write(
            store.report, job, number, reports
        )
        if fresh:
            self._runtime.signals.wake(job_key(job), metrics_key(job))
        return pb.ReportAttemptResponse(acknowledged=highest, cancelled=state.ending)

    async def AppendLogs(
        self, request: pb.AppendLogsRequest, context: Any
    ) -> pb.AppendLogsResponse:
        """Store log lines; those that are known are skipped."""
        del context
        job, number = request.ref.job, request.ref.attempt
        current, _ = await self._runtime.database.read(store.current, job, number)
        _check_source(request.source, current.demand.workers)
        key = (job, number, request.source)
        lock = self._files.get(key) or asyncio.Lock()
        self._files[key] = lock
        async with lock:
            lines = await asyncio.to_thread(
                self._runtime.logs.append,
                job,
                number,
                request.source,
                request.first_line,
                list(request.lines),
            )
        self._runtime.signals.wake(logs_key(job))
        return pb.AppendLogsResponse(lines=lines)

    async def FinishAttempt(
        self, request: pb.FinishAttemptRequest, context: Any
    ) -> pb.FinishAttemptResponse:
        """Store the outcome, once."""
        del context
        job, number = request.ref.job, request.ref.attempt
        await self._runtime.database.write(store.finish, job, number, _outcome(request))
        self._runtime.signals.wake(job_key(job), metrics_key(job), logs_key(job), ADMISSION, OUTBOX)
        return pb.FinishAttemptResponse()


def _check_source(source: str, workers: int) -> None:
    """Raise InvalidArgumentError if a job of so many workers has no such rank (UNKNOWN_SOURCE)."""
    rank = source.removeprefix("rank-")
    if rank != source and int(rank) >= workers:
        raise errors.InvalidArgumentError.at(
            "source", f"the job has {workers} ranks, from rank-0", "UNKNOWN_SOURCE"
        )


def _numbered(report: pb.Report, attempt: int) -> Numbered | None:
    match report.WhichOneof("content"):
        case "progress":
            return Numbered(sequence=report.sequence, content=progress_from_pb(report.progress))
        case "metric":
            metric = report.metric
            at = metric.time.ToMicroseconds() / 1e6 if metric.HasField("time") else time.time()
            point = Point(attempt=attempt, step=metric.step, time=at, values=_finite(metric.values))
            return Numbered(sequence=report.sequence, content=point)
        case "event":
            return Numbered(sequence=report.sequence, content=_note_of(report.event))
        case _:
            return None


def _finite(values: Mapping[str, float]) -> dict[str, float]:
    # JSON has no NaN; a loss that is not finite ends the job and is told in its failure.
    return {name: value for name, value in values.items() if math.isfinite(value)}


def _outcome(request: pb.FinishAttemptRequest) -> Finish:
    match request.WhichOneof("outcome"):
        case "success":
            return Succeed(version=request.success.version)
        case "stopped":
            return Stop(version=request.stopped.version)
        case "failure":
            return Fail(failure=as_told(failure_from_pb(request.failure)))
        case _:
            raise errors.InvalidArgumentError(
                "outcome: one of success, failure and stopped must be set",
                reason="INVALID_FIELD",
                violations=[errors.Violation("outcome", "must be set")],
            )


def _note_of(value: job_pb2.JobEvent) -> Note:
    """What a driver wants noted; entries of type `state` are the controller's alone.

    Raises:
        InvalidArgumentError: its details are more than people read (DETAILS_TOO_LARGE).
    """
    type_ = value.type if value.type and value.type != "state" else "note"
    if value.details.ByteSize() > MAX_DETAILS:
        raise errors.InvalidArgumentError.at(
            "details", f"at most {MAX_DETAILS} bytes", "DETAILS_TOO_LARGE"
        )
    details = convert.plain(value.details)
    return Note(type=_stored(type_)[:32], message=_stored(value.message), details=details)


def _stored(text: str) -> str:
    # PostgreSQL keeps no text with this character.
    return text.replace("\0", "\ufffd")
