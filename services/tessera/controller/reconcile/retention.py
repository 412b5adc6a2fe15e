"""What is kept of ended jobs is dropped when its time has come, a little at a time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import structlog

from tessera.controller.runtime import Runtime
from tessera.controller.store import deletion
from tessera.controller.store.schema import events, metrics

log = structlog.get_logger()

PAUSE = 30.0
"""Seconds between two looks, where nothing was left over."""

BETWEEN = 0.1
"""Seconds between two batches: others write meanwhile."""

BATCH = 50
"""Jobs of one transaction."""

LOGS_PAUSE = 3600.0
FOLDERS = 500
"""Folders of logs that are looked up in one read."""


class RetentionLoop:
    """Deletes jobs, histories, curves and logs that are older than they have to be.

    Args:
        runtime: the controller's parts.
        clock: seconds since the epoch.
    """

    def __init__(self, runtime: Runtime, clock: Callable[[], float] = time.time) -> None:
        self._runtime = runtime
        self._kept = runtime.config.limits.retention
        self._clock = clock
        self._logs_after = 0.0

    async def round(self) -> float:
        """Drop one batch of each; returns the seconds until the next look."""
        now, database = self._clock(), self._runtime.database
        gone = await database.read(deletion.overdue, now, now - self._kept.jobs_seconds, BATCH)
        if gone:
            await database.write(deletion.drop, gone)
            await asyncio.to_thread(self._drop_logs, gone)
            log.info("jobs dropped", count=len(gone))
        more = len(gone) == BATCH
        for table, seconds in (
            (events, self._kept.events_seconds),
            (metrics, self._kept.metrics_seconds),
        ):
            if seconds >= self._kept.jobs_seconds:
                continue
            old = await database.read(deletion.with_rows, table, now - seconds, BATCH)
            if old:
                await database.write(deletion.empty, table, old)
            more |= len(old) == BATCH
        if now >= self._logs_after:
            await self._sweep_logs(now - self._kept.logs_seconds)
            self._logs_after = now + min(LOGS_PAUSE, self._kept.logs_seconds)
        return BETWEEN if more else PAUSE

    async def _sweep_logs(self, before: float) -> None:
        """Drop the logs of jobs that ended long ago, or that are not in the store any more."""
        folders = await asyncio.to_thread(self._runtime.logs.kept)
        for start in range(0, len(folders), FOLDERS):
            part = folders[start : start + FOLDERS]
            old = await self._runtime.database.read(deletion.ended, part, before)
            await asyncio.to_thread(self._drop_logs, old)

    def _drop_logs(self, jobs: list[str]) -> None:
        for job in jobs:
            self._runtime.logs.drop(job)
