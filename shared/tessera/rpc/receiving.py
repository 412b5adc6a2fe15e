"""Requests that are on their way in: how many bodies are received at once, and how fast. No gRPC.

Whose body is received may send as much as gRPC takes for the largest method of a server, and only
when it is there does anybody know how much that was. Until then no more than a window is taken.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from tessera.rpc.policy.cost import MIB
from tessera.rpc.principal import PLATFORM, Principal, Role
from tessera.rpc.rate import Rate, RateLimiter
from tessera.rpc.turns import Turns

RECEIVED_BYTES = 256 * MIB
"""Of requests that are being received, if all are as large as can be; a principal has a third. gRPC
holds each twice for a moment."""

MOST, LEAST = 64, 8
"""Places, however small and large messages are."""

UNIT = MIB // 16
"""Bytes for which one is counted: less costs nearly what an empty message costs."""

PRINCIPAL_RATE = Rate(per_second=16 * MIB / UNIT, burst=16 * MIB // UNIT)
"""Of units in whole requests: to take in, parse and check 16 MiB keeps a loop for some 0.1 s, and a
model that reads as many texts in a second is not here yet."""

TENANT_RATE = Rate(per_second=32 * MIB / UNIT, burst=32 * MIB // UNIT)


class Receiving:
    """Lets requests of callers with a token in; belongs to one event loop.

    Callers without one have few calls, and the platform's own workloads are not limited.

    Args:
        largest: bytes of the largest message that gRPC takes for the server.
        clock: monotonic time in seconds.
        sleep: waits for so many.
    """

    def __init__(
        self,
        largest: int,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        places = min(MOST, max(LEAST, RECEIVED_BYTES // largest))
        self._requests = Turns(places)
        # Apart: one that uploads over a slow line keeps no call of its own waiting.
        self._messages = Turns(places)
        self._rates = RateLimiter(PRINCIPAL_RATE, TENANT_RATE)
        self._clock = clock
        self._sleep = sleep

    @asynccontextmanager
    async def request(self, caller: Principal) -> AsyncIterator[None]:
        """A place for the first message of a call, for as long as the block runs."""
        async with self._place(self._requests, caller):
            if _limited(caller):
                await self._sleep(self._rates.wait(caller.tenant, caller.subject, self._clock()))
            yield

    def count(self, caller: Principal, size: int) -> None:
        """So many bytes have come: for them the caller's next request waits."""
        if _limited(caller) and (units := size // UNIT):
            self._rates.count(caller.tenant, caller.subject, self._clock(), units)

    @asynccontextmanager
    async def message(self, caller: Principal) -> AsyncIterator[None]:
        """A place for a later message of a stream."""
        async with self._place(self._messages, caller):
            yield

    @asynccontextmanager
    async def _place(self, turns: Turns, caller: Principal) -> AsyncIterator[None]:
        if not _limited(caller):
            yield
            return
        await turns.take(caller.tenant, caller.subject)
        try:
            yield
        finally:
            turns.give(caller.tenant, caller.subject)


def _limited(caller: Principal) -> bool:
    return caller.role not in PLATFORM and caller.role is not Role.ANONYMOUS
