"""JobService: jobs in, and what became of them out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

import sqlalchemy as sa
import structlog

from tessera import errors
from tessera.api.controller.v1 import job_pb2 as pb
from tessera.api.controller.v1 import job_pb2_grpc as pb_grpc
from tessera.controller.policy import filters, quotas
from tessera.controller.policy.hold import HoldReason, JobHold
from tessera.controller.policy.job import ACTIVE, STOP_GRACE, Cancel, JobProgress, JobState
from tessera.controller.policy.records import Attempt, Job
from tessera.controller.runtime import Runtime, scope
from tessera.controller.services import convert
from tessera.controller.services.explain import explain_sent, explain_spec
from tessera.controller.services.feed import JobFeeds
from tessera.controller.services.job_message import job_message, job_messages
from tessera.controller.services.logs import stream_logs
from tessera.controller.services.submit import Accepted, limits_of, validate_spec
from tessera.controller.services.watch import stream_metrics, watch
from tessera.controller.signals import ADMISSION, OUTBOX, job_key, logs_key, metrics_key
from tessera.controller.store import attempts as store_attempts
from tessera.controller.store import deletion, holdings, holds
from tessera.controller.store import jobs as store
from tessera.rpc import pages
from tessera.rpc.principal import Principal, current_principal

log = structlog.get_logger()

_PAGES = pages.PageTokens(of="jobs", position=r"[-a-z0-9]{1,63}")


class JobService(pb_grpc.JobServiceServicer):
    """What clients call."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._database = runtime.database
        self._feeds = JobFeeds(runtime)
        limits = runtime.config.limits
        self._watchers = quotas.Open(lambda tenant: quotas.watches(limits.of(tenant)))

    async def CreateJob(self, request: pb.CreateJobRequest, context: Any) -> pb.CreateJobResponse:
        """Accept a job."""
        del context
        caller = current_principal()
        digest = convert.digest(request.spec)
        quota = quotas.jobs(self._runtime.config.limits.of(caller.tenant))
        # What is refused for its number costs least: it may come as often as it is answered.
        known = await self._database.read(
            store.welcome,
            caller.tenant,
            caller.subject,
            request.request_id,
            None if request.validate_only else quota,
        )
        if known is not None:
            return await self._created(store.check_same(known, request.request_id, digest))
        with errors.within("spec"):
            accepted = await validate_spec(self._runtime, caller.tenant, request.spec)
        if request.validate_only:
            published = accepted.spec.publish.set
            await self._database.read(store.check_set, caller.tenant, published)
            dry = pb.Job(spec=accepted.spec, tenant=caller.tenant, owner=caller.subject)
            return pb.CreateJobResponse(job=dry)
        new = _new(self._runtime.ids.job(), caller, accepted, request.request_id, digest)
        await self._database.read(holdings.check_named, caller.tenant, new.spec)
        job, created = await self._database.write(store.create, new, quota)
        if created:
            self._runtime.signals.wake(ADMISSION)
        return await self._created(job)

    async def GetJob(self, request: pb.GetJobRequest, context: Any) -> pb.GetJobResponse:
        """One job."""
        del context
        caller = current_principal()
        job, attempts = await self._database.read(_with_attempts, _id(request.name), scope(caller))
        if job.state is JobState.QUEUED:
            # What the store has was true after some pass; this is true now.
            now = await self._runtime.scheduler.reasons((job.id,))
            job = replace(job, waiting=now.get(job.id, job.waiting))
        return pb.GetJobResponse(job=await asyncio.to_thread(job_message, job, attempts))

    async def ListJobs(self, request: pb.ListJobsRequest, context: Any) -> pb.ListJobsResponse:
        """A page of jobs, newest first."""
        del context
        size = pages.size_of(request.page_size)
        listed = await self._database.read(
            _page,
            scope(current_principal()),
            filters.parse(request.filter),
            _PAGES.decode(request.page_token),
            size + 1,
        )
        shown = listed[:size]
        last = shown[-1][0].id if len(listed) > size else ""
        # Specs are read on a thread: a page of them takes a while.
        full = request.view == pb.JOB_VIEW_FULL
        jobs = await asyncio.to_thread(job_messages, shown, full=full)
        return pb.ListJobsResponse(jobs=jobs, next_page_token=_PAGES.encode(last))

    async def CancelJob(self, request: pb.CancelJobRequest, context: Any) -> pb.CancelJobResponse:
        """Ask a job to end."""
        del context
        caller, job = current_principal(), _id(request.name)
        await self._database.read(store.get, job, tenant=scope(caller))
        given = Cancel(by=caller.subject)
        if await self._database.write(store.apply, job, given) is not None:
            self._runtime.signals.wake(
                job_key(job), logs_key(job), metrics_key(job), OUTBOX, ADMISSION
            )
        return pb.CancelJobResponse(job=await self._message(job))

    async def HoldJob(self, request: pb.HoldJobRequest, context: Any) -> pb.HoldJobResponse:
        """Keep a job from being started."""
        del context
        by = current_principal().subject
        given = JobHold(reason=HoldReason.HELD, by=by, message=request.message)
        return pb.HoldJobResponse(job=await self._change(request.name, holds.hold, given))

    async def ReleaseJob(
        self, request: pb.ReleaseJobRequest, context: Any
    ) -> pb.ReleaseJobResponse:
        """End a hold or a pause."""
        del context
        by = current_principal().subject
        return pb.ReleaseJobResponse(job=await self._change(request.name, holds.release, by))

    async def PauseJob(self, request: pb.PauseJobRequest, context: Any) -> pb.PauseJobResponse:
        """Hold a job, and have its attempt go."""
        del context
        by, grace = current_principal().subject, _grace(request)
        job = await self._change(request.name, holds.pause, by, request.message, grace)
        return pb.PauseJobResponse(job=job)

    async def ResumeJob(self, request: pb.ResumeJobRequest, context: Any) -> pb.ResumeJobResponse:
        """End a pause or a hold."""
        del context
        by = current_principal().subject
        return pb.ResumeJobResponse(job=await self._change(request.name, holds.release, by))

    async def RequeueJob(
        self, request: pb.RequeueJobRequest, context: Any
    ) -> pb.RequeueJobResponse:
        """Have an attempt go, and its job wait again."""
        del context
        by, grace = current_principal().subject, _grace(request)
        job = await self._change(request.name, holds.requeue, by, request.message, grace)
        return pb.RequeueJobResponse(job=job)

    async def UpdateJob(self, request: pb.UpdateJobRequest, context: Any) -> pb.UpdateJobResponse:
        """Change a job's priority."""
        del context
        if not request.HasField("priority"):
            return pb.UpdateJobResponse(job=await self._message(request.name))
        by = current_principal().subject
        job = await self._change(request.name, holds.set_priority, request.priority, by)
        return pb.UpdateJobResponse(job=job)

    async def DeleteJob(self, request: pb.DeleteJobRequest, context: Any) -> pb.DeleteJobResponse:
        """Drop an ended job."""
        del context
        job = await self._visible(request.name)
        await self._database.write(deletion.delete, job.id)
        await asyncio.to_thread(self._runtime.logs.drop, job.id)
        log.info("job deleted", job_id=job.id, by=current_principal().subject)
        return pb.DeleteJobResponse()

    async def GetJobRun(self, request: pb.GetJobRunRequest, context: Any) -> pb.GetJobRunResponse:
        """Where a running job is, and where its ranks run."""
        del context
        await self._runtime.require_lead()
        job = await self._visible(request.name)
        if job.state not in ACTIVE:
            raise _not_running(job, "only a job that runs has ranks")
        run = await self._runtime.drivers.status(job.id, job.position.attempt)
        return pb.GetJobRunResponse(run=run)

    async def CheckpointJob(
        self, request: pb.CheckpointJobRequest, context: Any
    ) -> pb.CheckpointJobResponse:
        """Ask a running job for a version."""
        del context
        await self._runtime.require_lead()
        job = await self._visible(request.name)
        if job.state is not JobState.RUNNING:
            raise _not_running(job, "only a job that is RUNNING can commit a version")
        taken = await self._runtime.drivers.checkpoint(job.id, job.position.attempt)
        return pb.CheckpointJobResponse(
            attempt=job.position.attempt, step=taken.step, version=taken.version
        )

    async def ExplainJob(
        self, request: pb.ExplainJobRequest, context: Any
    ) -> pb.ExplainJobResponse:
        """Why a job waits, or what would become of one that is sent now."""
        del context
        caller = current_principal()
        await self._runtime.require_lead()
        if request.WhichOneof("subject") == "name":
            found = await self._database.read(_with_attempts, _id(request.name), scope(caller))
            return await explain_sent(self._runtime, *found, request.extra)
        with errors.within("spec"):
            accepted = await validate_spec(self._runtime, caller.tenant, request.spec)
        asked = _new("~", caller, accepted, "", "")
        return await explain_spec(self._runtime, asked, request.extra)

    async def WatchJob(
        self, request: pb.WatchJobRequest, context: Any
    ) -> AsyncIterator[pb.WatchJobResponse]:
        """The job's events after a cursor, and progress between them."""
        del context
        job = await self._visible(request.name)
        with self._watching():
            async for update in watch(self._runtime, self._feeds, job.id, request.cursor):
                yield update

    async def StreamLogs(
        self, request: pb.StreamLogsRequest, context: Any
    ) -> AsyncIterator[pb.StreamLogsResponse]:
        """Log lines."""
        del context
        job = await self._visible(request.name)
        with self._watching():
            async for part in stream_logs(self._runtime, job, request):
                yield part

    async def StreamMetrics(
        self, request: pb.StreamMetricsRequest, context: Any
    ) -> AsyncIterator[pb.StreamMetricsResponse]:
        """Points of the metrics."""
        del context
        job = await self._visible(request.name)
        with self._watching():
            async for part in stream_metrics(
                self._runtime, job.id, after_step=request.after_step, follow=request.follow
            ):
                yield part

    def _watching(self) -> AbstractContextManager[None]:
        """One more watch of the caller's, for as long as it lasts."""
        caller = current_principal()
        return self._watchers.one(caller.tenant, caller.subject)

    async def _change(self, name: str, how: Callable[..., bool], *given: object) -> pb.Job:
        """Change a job that the caller may see, wake whom it concerns, and show it."""
        job = await self._visible(name)
        if await self._database.write(how, job.id, *given):
            self._runtime.signals.wake(job_key(job.id), OUTBOX, ADMISSION)
        return await self._message(job.id)

    async def _message(self, name: str) -> pb.Job:
        tenant = scope(current_principal())
        return job_message(*await self._database.read(_with_attempts, _id(name), tenant))

    async def _visible(self, name: str) -> Job:
        tenant = scope(current_principal())
        return await self._database.read(store.get, _id(name), tenant=tenant)

    async def _created(self, job: Job) -> pb.CreateJobResponse:
        attempts = await self._database.read(store_attempts.of_job, job.id)
        return pb.CreateJobResponse(job=job_message(job, attempts))


def _id(name: str) -> str:
    return name.removeprefix("jobs/")


def _new(job: str, caller: Principal, accepted: Accepted, request_id: str, digest: str) -> Job:
    spec = accepted.spec
    hold = None
    if spec.scheduling.hold:
        hold = JobHold(reason=HoldReason.HELD, by=caller.subject, time=time.time())
    return Job(
        id=job,
        tenant=caller.tenant,
        owner=caller.subject,
        name=spec.name,
        queue=spec.queue,
        priority=spec.priority,
        labels=dict(spec.labels),
        request_id=request_id,
        request_digest=digest,
        spec=convert.to_json(spec),
        demand=accepted.demand,
        publish_set=spec.publish.set,
        limits=limits_of(spec.scheduling),
        hold=hold,
        position=JobProgress(retries=spec.retries),
    )


def _with_attempts(
    connection: sa.Connection, job: str, tenant: str | None
) -> tuple[Job, list[Attempt]]:
    found = store.get(connection, job, tenant=tenant)
    return found, store_attempts.of_job(connection, job)


def _page(
    connection: sa.Connection,
    tenant: str | None,
    conditions: list[filters.Condition],
    before: str,
    size: int,
) -> list[tuple[Job, list[Attempt]]]:
    jobs = store.page(connection, tenant=tenant, conditions=conditions, before=before, size=size)
    attempts = store_attempts.of_jobs(connection, [job.id for job in jobs])
    return [(job, attempts[job.id]) for job in jobs]


def _grace(request: pb.PauseJobRequest | pb.RequeueJobRequest) -> float:
    """Seconds that an attempt has to commit a version."""
    return float(request.grace_seconds) if request.HasField("grace_seconds") else STOP_GRACE


def _not_running(job: Job, why: str) -> errors.FailedPreconditionError:
    return errors.FailedPreconditionError(
        f"{job.id} is {job.state.value}; {why}",
        reason="JOB_NOT_RUNNING",
        metadata={"job": job.id, "state": job.state.value},
    )
