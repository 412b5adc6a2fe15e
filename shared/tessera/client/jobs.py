"""Jobs: create, look at, watch, cancel."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from tessera import errors
from tessera.api.controller.v1 import job_pb2 as pb
from tessera.api.controller.v1.job_pb2_grpc import JobServiceStub
from tessera.api.controller.v1.spec_pb2 import JobSpec
from tessera.client.blobs import Blobs, Progress
from tessera.client.connection import STREAM_PATIENCE_SECONDS, Connection
from tessera.client.prepare import Prepared, prepare
from tessera.rpc.pages import every_page

PAGE = 500
_ID = re.compile(r"(jobs/)?job-[0-9a-hjkmnp-tv-z]{26}")
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


class Jobs:
    """The jobs of a platform.

    A job is named by its id, with or without `jobs/`, or by its name: then the newest of that name
    is meant.
    """

    def __init__(self, connection: Connection, blobs: Blobs) -> None:
        self._connection = connection
        self._blobs = blobs
        self._stub: Any = JobServiceStub(connection.channel)

    def create(
        self,
        spec: JobSpec,
        *,
        request_id: str = "",
        folder: str | Path = ".",
        progress: Progress | None = None,
    ) -> pb.Job:
        """Submit a job; files of this machine that it names are uploaded first.

        Args:
            spec: what to run.
            request_id: the same id and spec give the same job; empty: a new one.
            folder: that relative paths in the spec start from.
            progress: called with bytes sent and bytes in all.

        Raises:
            InvalidArgumentError: the spec is wrong; each violation names a field.
            NotFoundError: a queue or version that it names does not exist.
            AlreadyExistsError: `request_id` was used with another spec.
        """
        prepared = prepare(spec, Path(folder))
        return self.send(prepared, request_id=request_id, progress=progress)

    def send(
        self, prepared: Prepared, *, request_id: str = "", progress: Progress | None = None
    ) -> pb.Job:
        """Submit a job that has been prepared. Raises as `create` does."""
        self._blobs.upload(prepared.files, progress)
        # With a key of its own, a call whose answer was lost can be repeated.
        key = request_id or uuid.uuid4().hex
        request = pb.CreateJobRequest(request_id=key, spec=prepared.spec)
        job: pb.Job = self._connection.call(self._stub.CreateJob, request).job
        return job

    def validate(self, spec: JobSpec, *, folder: str | Path = ".") -> JobSpec:
        """The spec as it would run, every default filled in; nothing is created or uploaded.

        Raises as `create` does.
        """
        return self.ask(prepare(spec, Path(folder)))

    def ask(self, prepared: Prepared) -> JobSpec:
        """The spec of a job that has been prepared as it would run. Raises as `create` does."""
        request = pb.CreateJobRequest(spec=prepared.spec, validate_only=True)
        done: JobSpec = self._connection.call(self._stub.CreateJob, request).job.spec
        return done

    def resolve(self, job: str) -> str:
        """The id that an id or a name stands for: an id itself, a name for the newest that has it.

        Raises:
            NotFoundError: JOB_NOT_FOUND: no job bears that name.
        """
        if _ID.fullmatch(job):
            return job
        for newest in self.list(f"name={job}", limit=1) if _NAME.fullmatch(job) else ():
            return newest.id
        raise errors.NotFoundError(
            f"there is no job `{job}`, neither of that id nor of that name; `tessera jobs` "
            "lists them",
            reason="JOB_NOT_FOUND",
        )

    def unfinished(self, name: str) -> tuple[str, ...]:
        """Ids of all jobs of a name that have not ended, newest first; an id is no name."""
        if _ID.fullmatch(name) or not _NAME.fullmatch(name):
            return ()
        return tuple(job.id for job in self.list(f"name={name} AND ended=false"))

    def get(self, job: str) -> pb.Job:
        """One job.

        Raises:
            NotFoundError: there is none of that id or name.
        """
        request = pb.GetJobRequest(name=self.resolve(job))
        found: pb.Job = self._connection.call(self._stub.GetJob, request).job
        return found

    def list(
        self,
        filter: str = "",  # noqa: A002 - the API's word
        *,
        limit: int = 0,
        full: bool = False,
    ) -> Iterator[pb.Job]:
        """Jobs, newest first.

        Args:
            filter: `state=RUNNING`, `ended=false`, `name=…`, `queue=…`, `owner=…`, `label.KEY=…`,
                joined by ` AND `.
            limit: at most so many; 0: all.
            full: with their whole specs, not only name, queue, priority, labels and set.
        """
        view = pb.JOB_VIEW_FULL if full else pb.JOB_VIEW_BASIC
        size = min(limit or PAGE, PAGE)
        request = pb.ListJobsRequest(page_size=size, filter=filter, view=view)
        pages = every_page(partial(self._connection.call, self._stub.ListJobs), request)
        yield from islice((job for page in pages for job in page.jobs), limit or None)

    def cancel(self, job: str) -> pb.Job:
        """Ask a job to end; it ends within two steps. An ended one stays as it is.

        Of several jobs of a name, the one that has not ended is meant.

        Raises:
            NotFoundError: there is none of that id or name.
            FailedPreconditionError: JOB_AMBIGUOUS: several of that name have not ended.
        """
        request = pb.CancelJobRequest(name=self._open(job))
        return self._changed(self._stub.CancelJob, request)

    def _changed(self, call: Any, request: Any) -> pb.Job:
        """The job as it stands after a call that changes it."""
        found: pb.Job = self._connection.call(call, request).job
        return found

    def _open(self, job: str) -> str:
        """The id of the job that is meant; of several of a name, the one that has not ended.

        Raises:
            NotFoundError: there is none of that id or name.
            FailedPreconditionError: JOB_AMBIGUOUS: several of that name have not ended.
        """
        meant = self.unfinished(job)
        if len(meant) > 1:
            raise errors.FailedPreconditionError(
                f"{len(meant)} jobs named `{job}` have not ended: {', '.join(meant)}; "
                "say which by its id",
                reason="JOB_AMBIGUOUS",
            )
        return meant[0] if meant else self.resolve(job)

    def hold(self, job: str, message: str = "") -> pb.Job:
        """Keep a job from being started; one that runs goes on.

        Raises:
            NotFoundError: as `cancel`, and so of the following.
            FailedPreconditionError: it has ended (JOB_ENDED), or as `cancel`.
        """
        request = pb.HoldJobRequest(name=self._open(job), message=message)
        return self._changed(self._stub.HoldJob, request)

    def release(self, job: str) -> pb.Job:
        """End a hold or a pause; raises as `hold`."""
        request = pb.ReleaseJobRequest(name=self._open(job))
        return self._changed(self._stub.ReleaseJob, request)

    def pause(self, job: str, message: str = "", grace: int | None = None) -> pb.Job:
        """Hold a job; one that runs has `grace` seconds to commit a version. Raises as `hold`."""
        request = pb.PauseJobRequest(name=self._open(job), message=message, grace_seconds=grace)
        return self._changed(self._stub.PauseJob, request)

    def resume(self, job: str) -> pb.Job:
        """End a pause or a hold; raises as `hold`."""
        request = pb.ResumeJobRequest(name=self._open(job))
        return self._changed(self._stub.ResumeJob, request)

    def requeue(self, job: str, message: str = "", grace: int | None = None) -> pb.Job:
        """Have a running job commit a version and wait for another place; raises as `hold`."""
        request = pb.RequeueJobRequest(name=self._open(job), message=message, grace_seconds=grace)
        return self._changed(self._stub.RequeueJob, request)

    def set_priority(self, job: str, priority: int) -> pb.Job:
        """Change a job's priority; raises as `hold`."""
        request = pb.UpdateJobRequest(name=self._open(job), priority=priority)
        return self._changed(self._stub.UpdateJob, request)

    def delete(self, job: str) -> str:
        """Drop an ended job with its events, metrics and logs, for good; returns its id.

        Raises:
            NotFoundError: there is none of that id or name.
            FailedPreconditionError: it has not ended (JOB_NOT_ENDED).
        """
        name = self.resolve(job)
        self._connection.call(self._stub.DeleteJob, pb.DeleteJobRequest(name=name))
        return name

    def checkpoint(self, job: str) -> pb.CheckpointJobResponse:
        """Ask a running job for a version; it commits one within two steps.

        Raises:
            FailedPreconditionError: it does not run (JOB_NOT_RUNNING).
            UnavailableError: its driver is not there yet (DRIVER_UNAVAILABLE).
        """
        request = pb.CheckpointJobRequest(name=self.resolve(job))
        taken: pb.CheckpointJobResponse = self._connection.call(self._stub.CheckpointJob, request)
        return taken

    def wait_checkpoint(self, job: str, taken: pb.CheckpointJobResponse) -> int:
        """The version that `checkpoint` asked for, once it is committed; 0: the job ended first."""
        for update in self.watch(job):
            version = update.progress.version
            if update.WhichOneof("update") == "progress" and version > taken.version:
                return version
        return 0

    def watch(
        self, job: str, *, cursor: int = 0, patience: float = STREAM_PATIENCE_SECONDS
    ) -> Iterator[pb.WatchJobResponse]:
        """Events after a cursor, each exactly once, and progress between them, until the end.

        A controller that goes away for less than `patience` seconds is not noticed.
        """
        seen, name = cursor, self.resolve(job)

        def open_call() -> Any:
            request = pb.WatchJobRequest(name=name, cursor=seen)
            return self._stub.WatchJob(request, metadata=self._connection.metadata)

        for update in self._connection.stream(open_call, patience=patience):
            if update.WhichOneof("update") == "event":
                if update.event.sequence <= seen:
                    continue
                seen = update.event.sequence
            yield update

    def wait(self, job: str) -> pb.Job:
        """The job once it has ended, whichever way."""
        name = self.resolve(job)
        for _ in self.watch(name):
            pass
        return self.get(name)

    def logs(
        self, job: str, *, attempt: int = 0, source: str = "", follow: bool = False, tail: int = 0
    ) -> Iterator[pb.StreamLogsResponse]:
        """Log lines of an attempt (0: the newest).

        Args:
            job: the job.
            attempt: its number.
            source: `driver`, `rank-0` …; empty: all.
            follow: stay until the job has ended.
            tail: only the last so many lines of each source; 0: all.
        """
        request = pb.StreamLogsRequest(
            name=self.resolve(job), attempt=attempt, source=source, follow=follow, tail=tail
        )
        seen: dict[tuple[int, str], int] = {}
        skip: dict[tuple[int, str], int] = {}

        def open_call() -> Any:
            skip.update(seen)
            return self._stub.StreamLogs(request, metadata=self._connection.metadata)

        # The last lines of a log that grows are others the second time: no resuming then.
        patience = 0.0 if tail else STREAM_PATIENCE_SECONDS
        for part in self._connection.stream(open_call, patience=patience):
            key = (part.attempt, part.source)
            known = min(skip.get(key, 0), len(part.lines))
            skip[key] = skip.get(key, 0) - known
            if fresh := part.lines[known:]:
                seen[key] = seen.get(key, 0) + len(fresh)
                yield pb.StreamLogsResponse(attempt=part.attempt, source=part.source, lines=fresh)

    def metrics(
        self, job: str, *, follow: bool = False, after_step: int = 0
    ) -> Iterator[pb.MetricPoint]:
        """Points that training reported, in the order of attempts and steps."""
        request = pb.StreamMetricsRequest(
            name=self.resolve(job), follow=follow, after_step=after_step
        )
        seen = (0, -1)

        def open_call() -> Any:
            return self._stub.StreamMetrics(request, metadata=self._connection.metadata)

        for part in self._connection.stream(open_call):
            for point in part.points:
                if (point.attempt, point.step) > seen:
                    seen = (point.attempt, point.step)
                    yield point
