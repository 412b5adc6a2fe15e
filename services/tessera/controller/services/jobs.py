"""JobService: jobs in, and what became of them out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractContextManager
from typing import Any

import sqlalchemy as sa

from tessera import errors
from tessera.api.controller.v1 import job_pb2 as pb
from tessera.api.controller.v1 import job_pb2_grpc as pb_grpc
from tessera.api.controller.v1 import spec_pb2
from tessera.attempt.messages import failure_to_pb, progress_to_pb
from tessera.controller.policy import filters, quotas
from tessera.controller.policy.job import Cancel, JobProgress, JobState
from tessera.controller.policy.records import Attempt, Job
from tessera.controller.runtime import Runtime, scope
from tessera.controller.services import convert
from tessera.controller.services.logs import stream_logs
from tessera.controller.services.submit import Accepted, validate_spec
from tessera.controller.services.watch import stream_metrics, watch
from tessera.controller.signals import ADMISSION, OUTBOX, job_key, logs_key, metrics_key
from tessera.controller.store import attempts as store_attempts
from tessera.controller.store import holdings
from tessera.controller.store import jobs as store
from tessera.rpc import pages
from tessera.rpc.principal import Principal, current_principal

_PAGES = pages.PageTokens(of="jobs", position=r"[-a-z0-9]{1,63}")
_WITH_RANKS = (JobState.STARTING, JobState.RUNNING, JobState.CANCELLING)


class JobService(pb_grpc.JobServiceServicer):
    """What clients call."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._database = runtime.database
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
        found = await self._database.read(_with_attempts, _id(request.name), scope(caller))
        return pb.GetJobResponse(job=_job_message(*found))

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
        jobs = [_job_message(job, attempts) for job, attempts in shown]
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
        found = await self._database.read(_with_attempts, job, scope(caller))
        return pb.CancelJobResponse(job=_job_message(*found))

    async def GetJobRun(self, request: pb.GetJobRunRequest, context: Any) -> pb.GetJobRunResponse:
        """Where a running job is, and where its ranks run."""
        del context
        job = await self._visible(request.name)
        if job.state not in _WITH_RANKS:
            raise _not_running(job, "only a job that runs has ranks")
        run = await self._runtime.drivers.status(job.id, job.position.attempt)
        return pb.GetJobRunResponse(run=run)

    async def CheckpointJob(
        self, request: pb.CheckpointJobRequest, context: Any
    ) -> pb.CheckpointJobResponse:
        """Ask a running job for a version."""
        del context
        job = await self._visible(request.name)
        if job.state is not JobState.RUNNING:
            raise _not_running(job, "only a job that is RUNNING can commit a version")
        taken = await self._runtime.drivers.checkpoint(job.id, job.position.attempt)
        return pb.CheckpointJobResponse(
            attempt=job.position.attempt, step=taken.step, version=taken.version
        )

    async def WatchJob(
        self, request: pb.WatchJobRequest, context: Any
    ) -> AsyncIterator[pb.WatchJobResponse]:
        """The job's events after a cursor, and progress between them."""
        del context
        job = await self._visible(request.name)
        with self._watching():
            async for update in watch(self._runtime, job.id, request.cursor):
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

    async def _visible(self, name: str) -> Job:
        tenant = scope(current_principal())
        return await self._database.read(store.get, _id(name), tenant=tenant)

    async def _created(self, job: Job) -> pb.CreateJobResponse:
        attempts = await self._database.read(store_attempts.of_job, job.id)
        return pb.CreateJobResponse(job=_job_message(job, attempts))


def _id(name: str) -> str:
    return name.removeprefix("jobs/")


def _new(job: str, caller: Principal, accepted: Accepted, request_id: str, digest: str) -> Job:
    spec = accepted.spec
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


def _job_message(value: Job, attempts: Sequence[Attempt]) -> pb.Job:
    """A job with its attempts."""
    return pb.Job(
        name=f"jobs/{value.id}",
        id=value.id,
        spec=convert.from_json(spec_pb2.JobSpec, value.spec),
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
    )


def _not_running(job: Job, why: str) -> errors.FailedPreconditionError:
    return errors.FailedPreconditionError(
        f"{job.id} is {job.state.value}; {why}",
        reason="JOB_NOT_RUNNING",
        metadata={"job": job.id, "state": job.state.value},
    )
