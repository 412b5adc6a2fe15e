"""Threads for what is too much for the event loop, shared fairly between clients."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter, OrderedDict, deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from tessera import errors

T = TypeVar("T")

THREADS = 3
"""One client alone gets two of them: whoever comes next finds one that is free."""

WAITING_BYTES = 256 << 20
"""Of requests whose turn has not come; a client may have half of what others leave."""

BUSY_SECONDS = 1.0


class FairPool:
    """Runs work of clients in turn; belongs to one event loop.

    A client runs no more than it leaves free, as `tessera.rpc.shares` has it.

    Args:
        threads: that work at once.
        room: bytes of requests that may wait, of all clients.
    """

    def __init__(self, threads: int = THREADS, room: int = WAITING_BYTES) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="prepare")
        self._free = threads
        self._running: Counter[str] = Counter()
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()
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
            await self._turn(client)
        except BaseException:
            _give(self._held, client, size)
            raise
        loop = asyncio.get_running_loop()
        working = self._threads.submit(work)

        def over(_: Any) -> None:
            with contextlib.suppress(RuntimeError):  # The loop is closed: nobody cares any more.
                loop.call_soon_threadsafe(self._end, client, size)

        # Who gives up does not wait for the thread, but it is still at work.
        working.add_done_callback(over)
        return await asyncio.wrap_future(working)

    async def _turn(self, client: str) -> None:
        if self._may(client):
            self._begin(client)
            return
        mine = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(client, deque()).append(mine)
        try:
            await mine
        except asyncio.CancelledError:
            if mine.done() and not mine.cancelled():  # Its turn had come in the same moment.
                self._end(client, 0)
            raise

    def _may(self, client: str) -> bool:
        return self._running[client] < self._free

    def _begin(self, client: str) -> None:
        self._free -= 1
        self._running[client] += 1

    def _end(self, client: str, size: int) -> None:
        self._free += 1
        _give(self._running, client, 1)
        _give(self._held, client, size)
        for name in list(self._waiting):
            queue = self._waiting[name]
            while queue and queue[0].done():  # Its caller has gone.
                queue.popleft()
            if queue and self._may(name):
                self._begin(name)
                queue.popleft().set_result(None)
                self._waiting.move_to_end(name)
            if not queue:
                del self._waiting[name]


def _give(counts: Counter[str], client: str, count: int) -> None:
    """Take off what a client had, and keep no count of who has nothing."""
    counts[client] -= count
    if not counts[client]:
        del counts[client]
