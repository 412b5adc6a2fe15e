"""Jobs: create, look at, watch, cancel."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tessera.api.controller.v1 import job_pb2 as pb
from tessera.api.controller.v1.job_pb2_grpc import JobServiceStub
from tessera.api.controller.v1.spec_pb2 import JobSpec
from tessera.client.blobs import Blobs, Progress
from tessera.client.connection import STREAM_PATIENCE_SECONDS, Connection
from tessera.client.local_files import localize
from tessera.spec import check

PAGE = 500
TERMINAL = frozenset(
    {pb.JOB_STATE_SUCCEEDED, pb.JOB_STATE_FAILED, pb.JOB_STATE_CANCELLED},
)
"""States that a job does not leave."""


class Jobs:
    """The jobs of a platform; a job is named by its id, with or without `jobs/`."""

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
        check(spec, uploaded=False)
        resolved, files = localize(spec, Path(folder))
        self._blobs.upload(files, progress)
        # With a key of its own, a call whose answer was lost can be repeated.
        key = request_id or uuid.uuid4().hex
        request = pb.CreateJobRequest(request_id=key, spec=resolved)
        job: pb.Job = self._connection.call(self._stub.CreateJob, request).job
        return job

    def validate(self, spec: JobSpec, *, folder: str | Path = ".") -> JobSpec:
        """The spec as it would run, every default filled in; nothing is created or uploaded.

        Raises as `create` does.
        """
        check(spec, uploaded=False)
        resolved, _ = localize(spec, Path(folder))
        request = pb.CreateJobRequest(spec=resolved, validate_only=True)
        done: JobSpec = self._connection.call(self._stub.CreateJob, request).job.spec
        return done

    def get(self, job: str) -> pb.Job:
        """One job.

        Raises:
            NotFoundError: there is none of that id.
        """
        found: pb.Job = self._connection.call(self._stub.GetJob, pb.GetJobRequest(name=job)).job
        return found

    def list(self, filter: str = "", *, limit: int = 0) -> Iterator[pb.Job]:  # noqa: A002 - the API's word
        """Jobs, newest first.

        Args:
            filter: `state=RUNNING`, `name=…`, `queue=…`, `label.KEY=…`, joined by ` AND `.
            limit: at most so many; 0: all.
        """
        token, left = "", limit
        while True:
            size = min(PAGE, left) if limit else PAGE
            request = pb.ListJobsRequest(page_size=size, page_token=token, filter=filter)
            page = self._connection.call(self._stub.ListJobs, request)
            yield from page.jobs
            token, left = page.next_page_token, left - len(page.jobs)
            if not token or (limit and left <= 0):
                return

    def cancel(self, job: str) -> pb.Job:
        """Ask a job to end; it ends within two steps. An ended one stays as it is."""
        request = pb.CancelJobRequest(name=job)
        found: pb.Job = self._connection.call(self._stub.CancelJob, request).job
        return found

    def checkpoint(self, job: str) -> pb.CheckpointJobResponse:
        """Ask a running job for a version; it commits one within two steps.

        Raises:
            FailedPreconditionError: it does not run (JOB_NOT_RUNNING).
            UnavailableError: its driver is not there yet (DRIVER_UNAVAILABLE).
        """
        request = pb.CheckpointJobRequest(name=job)
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
        seen = cursor

        def open_call() -> Any:
            request = pb.WatchJobRequest(name=job, cursor=seen)
            return self._stub.WatchJob(request, metadata=self._connection.metadata)

        for update in self._connection.stream(open_call, patience=patience):
            if update.WhichOneof("update") == "event":
                if update.event.sequence <= seen:
                    continue
                seen = update.event.sequence
            yield update

    def wait(self, job: str) -> pb.Job:
        """The job once it has ended, whichever way."""
        for _ in self.watch(job):
            pass
        return self.get(job)

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
            name=job, attempt=attempt, source=source, follow=follow, tail=tail
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
        request = pb.StreamMetricsRequest(name=job, follow=follow, after_step=after_step)
        seen = (0, -1)

        def open_call() -> Any:
            return self._stub.StreamMetrics(request, metadata=self._connection.metadata)

        for part in self._connection.stream(open_call):
            for point in part.points:
                if (point.attempt, point.step) > seen:
                    seen = (point.attempt, point.step)
                    yield point
