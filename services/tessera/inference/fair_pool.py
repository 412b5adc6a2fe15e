"""Threads for what is too much for the event loop, shared fairly between clients."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from tessera import errors
from tessera.rpc.turns import Turns

T = TypeVar("T")

THREADS = 4
"""One client alone gets two of them: whoever comes next finds one that is free."""

WAITING_BYTES = 256 << 20
"""Of requests whose turn has not come; a client alone may have half of it."""

BUSY_SECONDS = 1.0


class FairPool:
    """Runs work of clients in turn; belongs to one event loop.

    Args:
        threads: that work at once.
        room: bytes of requests that may be in, of all clients.
    """

    def __init__(self, threads: int = THREADS, room: int = WAITING_BYTES) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="prepare")
        self._turns = Turns(threads)
        self._room = room
        self._held: Counter[str] = Counter()

    async def run(self, client: str, size: int, work: Callable[[], T]) -> T:
        """What `work` returns, in a thread, when it is the client's turn.

        Args:
            client: whose work it is.
            size: bytes of the request that it is of.
            work: what to do.

        Raises:
            ResourceExhaustedError: too much of this client waits (QUEUE_FULL).
        """
        if self._held[client] and self._held[client] + size > self._room - self._held.total():
            raise errors.ResourceExhaustedError(
                "too many large requests wait to be read; try again later",
                reason="QUEUE_FULL",
                retry_after=BUSY_SECONDS,
            )
        self._held[client] += size
        try:
            await self._turns.take(client, client)
        except BaseException:
            self._let_go(client, size)
            raise
        loop = asyncio.get_running_loop()
        working = self._threads.submit(work)

        def over(_: Any) -> None:
            with contextlib.suppress(RuntimeError):  # The loop is closed: nobody cares any more.
                loop.call_soon_threadsafe(self._end, client, size)

        # Who gives up does not wait for the thread, but that is still at work.
        working.add_done_callback(over)
        return await asyncio.wrap_future(working)

    def _end(self, client: str, size: int) -> None:
        self._let_go(client, size)
        self._turns.give(client, client)

    def _let_go(self, client: str, size: int) -> None:
        self._held[client] -= size
        if not self._held[client]:
            del self._held[client]
