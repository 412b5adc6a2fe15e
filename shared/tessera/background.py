"""Work that goes on beside the calls of a server until it is stopped."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import structlog

log = structlog.get_logger()

PAUSE_SECONDS = 1.0


class Background:
    """Does something again and again, in a task; a round that breaks is logged, and the next comes.

    Args:
        name: of the work, for the log.
        once: a round of it; it waits by itself for what begins the next.
    """

    def __init__(self, name: str, once: Callable[[], Awaitable[None]]) -> None:
        self._name = name
        self._once = once
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin, inside a running loop."""
        self._task = asyncio.create_task(self._run(), name=self._name)

    async def stop(self) -> None:
        """End; harmless if it never began."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        while True:
            try:
                await self._once()
            except Exception:
                log.exception("a round broke", work=self._name)
                await asyncio.sleep(PAUSE_SECONDS)


async def comes(event: asyncio.Event, seconds: float) -> bool:
    """Wait for an event, at most so long; returns whether it is there.

    Not by `asyncio.wait_for`, which loses a cancellation that comes as the event does.
    """
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
    return event.is_set()
