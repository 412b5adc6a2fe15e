"""Limits in time of jobs: who ran too long, got no further, or did not start in time."""

from __future__ import annotations

import time
from collections.abc import Callable

import structlog

from tessera.controller.runtime import Runtime
from tessera.controller.signals import ADMISSION, OUTBOX, job_key
from tessera.controller.store import deadlines

log = structlog.get_logger()

PAUSE = 5.0
"""Seconds between two looks at most: a deadline may be set at any time."""

LEAST = 0.2


class DeadlineLoop:
    """Holds jobs to their limits. What is found is read off the store each time, so none is missed.

    Args:
        runtime: the controller's parts.
        clock: seconds since the epoch.
    """

    def __init__(self, runtime: Runtime, clock: Callable[[], float] = time.time) -> None:
        self._runtime = runtime
        self._clock = clock

    async def round(self) -> float:
        """Move what is late; returns the seconds until the next look."""
        following = await self._runtime.database.read(deadlines.following)
        if following is None:
            return PAUSE
        now = self._clock()
        if following > now:
            return min(PAUSE, max(LEAST, following - now))
        moved = await self._runtime.database.write(deadlines.expire, now)
        for job in moved:
            log.info("a limit has passed", job_id=job)
        self._runtime.signals.wake(OUTBOX, ADMISSION, *(job_key(job) for job in moved))
        return LEAST
