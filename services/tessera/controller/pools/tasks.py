"""At most one task for each pool: what one pool keeps waiting keeps no other waiting."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import structlog

from tessera import errors

log = structlog.get_logger()


class PoolTasks:
    """Work on pools, that of each by itself.

    Args:
        name: of what is done, for the log.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def start(self, pool: str, work: Callable[[], Coroutine[Any, Any, None]]) -> bool:
        """Begin work on a pool, unless some goes on there; returns whether it began."""
        if pool in self._tasks:
            return False
        task = asyncio.create_task(work(), name=f"{self._name} of {pool}")
        self._tasks[pool] = task
        task.add_done_callback(lambda done: self._ended(pool, done))
        return True

    async def settle(self, seconds: float) -> bool:
        """Wait for what goes on, at most so long; returns whether all of it is over."""
        if not self._tasks:
            return True
        _, pending = await asyncio.wait(list(self._tasks.values()), timeout=seconds)
        return not pending

    def _ended(self, pool: str, task: asyncio.Task[None]) -> None:
        self._tasks.pop(pool, None)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            # The next round does it again.
            log.warning(
                "work on a pool failed", work=self._name, pool=pool, message=errors.describe(error)
            )
