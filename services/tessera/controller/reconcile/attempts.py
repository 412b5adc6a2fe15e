"""Watches the Ray jobs of attempts: decides where a driver died silently, gives resources back.

What cannot be seen is left alone: only an answer of the pool moves a job.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from functools import partial

import structlog

from tessera import errors
from tessera.controller.policy.job import STOP_GRACE, JobState
from tessera.controller.policy.outcome import RayJobRun, RunStatus, decide
from tessera.controller.policy.records import Attempt, Job, Pool
from tessera.controller.pools.state import PATIENCE
from tessera.controller.pools.tasks import PoolTasks
from tessera.controller.runtime import Runtime
from tessera.controller.signals import ADMISSION, OUTBOX, job_key, logs_key, metrics_key
from tessera.controller.store import attempts as store

log = structlog.get_logger()

PAUSE = 1.0
IDLE_PAUSE = 5.0
GRACE = 2.0
"""Seconds between seeing a driver gone and deciding for it: its last call may still arrive."""

KILL_AGAIN = 15.0
"""Seconds after which a Ray job that was ended and goes on is ended again."""

LOG_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """An attempt whose Ray job is watched."""

    job: Job
    attempt: Attempt
    pool: Pool


class AttemptLoop:
    """Asks the pools about every attempt that may still hold something."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._over_since: dict[str, float] = {}
        self._killed: dict[str, float] = {}
        self._tasks = PoolTasks("attempts")

    async def round(self) -> float:
        """Look at every watched attempt once; returns the seconds until the next look."""
        found = await self._runtime.database.read(store.unreleased)
        watched = []
        for job, attempt in found:
            state = self._runtime.pools.get(attempt.pool)
            if attempt.launched and state is not None:
                watched.append(Watched(job=job, attempt=attempt, pool=state.pool))
        for pool in {item.pool.name for item in watched}:
            here = [item for item in watched if item.pool.name == pool]
            self._tasks.start(pool, partial(self._look_at, here))
        await self._tasks.settle(PATIENCE)
        known = {item.attempt.submission_id for item in watched}
        self._over_since = {k: v for k, v in self._over_since.items() if k in known}
        self._killed = {k: v for k, v in self._killed.items() if k in known}
        return PAUSE if found else IDLE_PAUSE

    async def _look_at(self, items: list[Watched]) -> None:
        await asyncio.gather(*(self._look(item) for item in items))

    async def _look(self, item: Watched) -> None:
        submission = item.attempt.submission_id
        try:
            run = await self._runtime.launcher.status(item.pool, submission)
            if not run.status.over:
                self._over_since.pop(submission, None)
                await self._hurry(item)
                return
            since = self._over_since.setdefault(submission, time.monotonic())
            ended = item.attempt.end_time is not None
            if time.monotonic() - since >= GRACE or (ended and run.status is not RunStatus.MISSING):
                await self._settle(item, run)
        except errors.UnavailableError as error:
            log.debug("attempt unseen", job_id=item.job.id, message=error.message)

    async def _hurry(self, item: Watched) -> None:
        """End the Ray job of an attempt that has ended but goes on holding resources."""
        attempt = item.attempt
        late = attempt.end_time is not None and time.time() - attempt.end_time > STOP_GRACE
        killed = self._killed.get(attempt.submission_id, -KILL_AGAIN)
        if late and time.monotonic() - killed >= KILL_AGAIN:
            log.warning("driver lingers", job_id=attempt.job, attempt=attempt.number)
            await self._runtime.launcher.stop(item.pool, attempt.submission_id)
            self._killed[attempt.submission_id] = time.monotonic()

    async def _settle(self, item: Watched, run: RayJobRun) -> None:
        job, attempt = item.job, item.attempt
        text = await self._log(item, run)
        if attempt.end_time is None:
            outcome = decide(
                run,
                cancelling=job.state.ending,
                reported=job.state is not JobState.STARTING,
                log=text,
            )
            try:
                await self._runtime.database.write(store.finish, job.id, attempt.number, outcome)
            except errors.FailedPreconditionError:
                log.info("driver reported after all", job_id=job.id, attempt=attempt.number)
        if text:
            # The driver sends its lines itself while it can; the rest is in Ray's copy.
            logs = self._runtime.logs
            await asyncio.to_thread(logs.append_missing, job.id, attempt.number, "driver", text)
        await self._runtime.database.write(store.release, job.id, attempt.number)
        self._runtime.signals.wake(
            job_key(job.id), logs_key(job.id), metrics_key(job.id), ADMISSION, OUTBOX
        )

    async def _log(self, item: Watched, run: RayJobRun) -> str:
        if run.status is RunStatus.MISSING:
            return ""
        try:
            text = await self._runtime.launcher.log(item.pool, item.attempt.submission_id)
        except errors.UnavailableError as error:
            # The outcome does not wait for a log that may never be readable again.
            return f"[the driver's log could not be read: {error.message}]"
        return text[-LOG_BYTES:]
