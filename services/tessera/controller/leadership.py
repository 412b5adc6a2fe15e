"""Keeps the lease, and the loops running for as long as it is held; without it a standby waits."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine

import structlog

from tessera import errors
from tessera.controller.policy.lease import RENEW_SECONDS, STANDBY_SECONDS
from tessera.controller.store.database import Database

log = structlog.get_logger()

Loop = tuple[str, Coroutine[None, None, None]]


class Leadership:
    """Leads when it can, stops when it must, and may lead again.

    Args:
        database: whose lease it is.
        begin: called when this process begins to lead; returns the loops of the leader.
    """

    def __init__(self, database: Database, begin: Callable[[], Awaitable[list[Loop]]]) -> None:
        self._database = database
        self._begin = begin
        self._token = 0
        self._tasks: list[asyncio.Task[None]] = []

    async def run(self) -> None:
        """Keep the lease for ever."""
        try:
            while True:
                pause = await self.round()
                await asyncio.sleep(pause)
        finally:
            await self._stop()

    async def round(self) -> float:
        """Lead, or stand by, as the lease says now; returns the seconds until the next look."""
        try:
            token = await self._database.keep()
        except errors.UnavailableError as error:
            log.warning("the lease could not be renewed", message=error.message)
            token = self._token if self._database.leads else 0
        ended = any(task.done() for task in self._tasks)
        if self._token and (token != self._token or ended):
            log.warning("controller leads no more", token=self._token)
            await self._stop()
        if token and not self._token:
            await self._start(token)
        return RENEW_SECONDS if token and self._database.leads else STANDBY_SECONDS

    async def _start(self, token: int) -> None:
        try:
            with self._database.leading():
                for name, loop in await self._begin():
                    self._tasks.append(asyncio.create_task(loop, name=name))
        except (errors.AbortedError, errors.UnavailableError) as error:
            log.warning("controller could not begin to lead", message=error.message)
            return
        self._token = token
        log.info("controller leads", token=token)

    async def _stop(self) -> None:
        tasks, self._tasks, self._token = self._tasks, [], 0
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
