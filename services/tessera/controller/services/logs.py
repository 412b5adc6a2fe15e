"""Streams of log lines."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import sqlalchemy as sa

from tessera.api.controller.v1 import job_pb2 as pb
from tessera.controller.policy.records import Attempt, Job
from tessera.controller.runtime import Runtime
from tessera.controller.signals import job_key, logs_key
from tessera.controller.store import attempts as store_attempts
from tessera.controller.store import jobs as store

SETTLE = 15.0
"""Seconds that a follower waits after the end for the last lines of the driver."""


async def stream_logs(
    runtime: Runtime, job: Job, request: pb.StreamLogsRequest
) -> AsyncIterator[pb.StreamLogsResponse]:
    """Lines of a job's attempt; following without naming one goes on to newer attempts.

    Raises:
        NotFoundError: the job has no such attempt (ATTEMPT_NOT_FOUND).
    """
    if request.attempt:
        await runtime.database.read(store_attempts.get, job.id, request.attempt)
    first = request.attempt or max(1, job.position.attempt)
    offsets: dict[tuple[int, str], int] = {}
    fresh = True
    with runtime.signals.listen(logs_key(job.id), job_key(job.id)) as wakeup:
        while True:
            found, attempts = await runtime.database.read(_state, job.id)
            shown = [a for a in attempts if a.number >= first]
            if request.attempt:
                shown = [a for a in shown if a.number == request.attempt]
            for attempt in shown:
                tail = request.tail if fresh else 0
                async for part in _new_lines(runtime, attempt, request.source, tail, offsets):
                    yield part
            fresh = False
            if not request.follow or _over(found, shown, exact=bool(request.attempt)):
                return
            await wakeup.wait(1.0 if found.state.terminal else SETTLE)


async def _new_lines(
    runtime: Runtime,
    attempt: Attempt,
    wanted: str,
    tail: int,
    offsets: dict[tuple[int, str], int],
) -> AsyncIterator[pb.StreamLogsResponse]:
    logs, job, number = runtime.logs, attempt.job, attempt.number
    for source in await asyncio.to_thread(logs.sources, job, number):
        if wanted and source != wanted:
            continue
        key = (number, source)
        if key not in offsets:
            offsets[key] = await asyncio.to_thread(logs.tail_offset, job, number, source, tail)
        while True:
            lines, offsets[key] = await asyncio.to_thread(
                logs.read, job, number, source, offsets[key]
            )
            if not lines:
                break
            yield pb.StreamLogsResponse(attempt=number, source=source, lines=lines)


def _over(job: Job, shown: list[Attempt], *, exact: bool) -> bool:
    """Whether no more lines can come: all is released, or the wait for it has been long enough."""
    ended = [a.end_time for a in shown]
    if not job.state.terminal and not (exact and all(ended)):
        return False
    if all(a.released for a in shown):
        return True
    return time.time() - max((end or 0.0 for end in ended), default=0.0) > SETTLE


def _state(connection: sa.Connection, job: str) -> tuple[Job, list[Attempt]]:
    return store.get(connection, job), store_attempts.of_job(connection, job)
