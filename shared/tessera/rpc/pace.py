"""How much of a server's time a caller may have while others want some too. No gRPC.

Calls that are cheap for whoever makes them may together take all of it: sent as fast as they are
answered, they keep everybody else behind a full queue. Whoever has had more than its share waits
before its next call is read; who is alone, or makes one call after another, never does. Time is
that of the event loop's thread, and of others that work for a call where they say so (`counted`):
they share one interpreter.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

from tessera.rpc.principal import PLATFORM, Principal, Role
from tessera.rpc.rate import Rate, RateLimiter

UNITS = 1_000
"""Of time, in a second."""

PRINCIPAL_RATE = Rate(per_second=UNITS / 4, burst=UNITS // 10)
"""A quarter of the time, and a tenth of a second at once."""

TENANT_RATE = Rate(per_second=UNITS / 3, burst=UNITS // 5)

PRESENT_SECONDS = 1.0
"""After its last call, so long a caller counts as one who may come again."""

LEAST_UNITS = 0.3
"""What any call takes before and after it can be measured: 0.3 ms in gRPC itself."""

_SWEEP = 1024

_Name = tuple[str, str]
T = TypeVar("T")

_COUNT: ContextVar[Callable[[float], None] | None] = ContextVar("count", default=None)


@contextmanager
def counted() -> Iterator[None]:
    """Count what this thread works in the block for the call that it works for, if any."""
    count, begin = _COUNT.get(), time.thread_time()
    try:
        yield
    finally:
        if count is not None:
            count(time.thread_time() - begin)


class Pace:
    """Keeps the callers of one event loop to their shares. The platform's own are not limited.

    Args:
        clock: monotonic time in seconds.
        spent: seconds that the loop's thread has worked.
        sleep: waits for so many.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        spent: Callable[[], float] = time.thread_time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._sleep = sleep
        self._rates = RateLimiter(PRINCIPAL_RATE, TENANT_RATE)
        self._clock = clock
        self._spent = spent
        self._costs: dict[_Name, float] = {}
        self._seen: list[tuple[_Name, float]] = []
        self._under_way: Counter[str] = Counter()

    async def call(self, caller: Principal, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Do a caller's work when its time has come, and count what it takes of the loop's."""
        if caller.role in PLATFORM or caller.role is Role.ANONYMOUS:
            return await work()
        name = caller.tenant, caller.subject
        expected, taken = self._costs.get(name, LEAST_UNITS), LEAST_UNITS
        self._under_way[caller.tenant] += 1
        limited = self._shared(name) and self._under_way[caller.tenant] > 1

        def count(seconds: float) -> None:
            nonlocal taken
            taken += seconds * UNITS
            if limited:
                self._rates.count(*name, self._clock(), seconds * UNITS)

        kept = _COUNT.set(count)
        try:
            if limited and (wait := self._wait(name, expected)):
                await self._sleep(wait)
            return await _Metered(work(), self._spent, count)
        finally:
            _COUNT.reset(kept)
            if limited:  # What was expected is counted by now.
                self._rates.count(*name, self._clock(), LEAST_UNITS - expected)
            self._remember(name, expected + (taken - expected) / 8)
            self._under_way[caller.tenant] -= 1
            if not self._under_way[caller.tenant]:
                del self._under_way[caller.tenant]

    def _wait(self, name: _Name, expected: float) -> float:
        """Seconds until a call may begin that is expected to take so much: calls come in turn."""
        now = self._clock()
        wait = self._rates.wait(*name, now)
        self._rates.count(*name, now, expected)
        return wait

    def _shared(self, name: _Name) -> bool:
        """Whether somebody else was here a moment ago."""
        now = self._clock()
        others = [(other, at) for other, at in self._seen if other != name][-1:]
        self._seen = [*others, (name, now)]
        return bool(others) and now - others[0][1] < PRESENT_SECONDS

    def _remember(self, name: _Name, cost: float) -> None:
        if len(self._costs) >= _SWEEP:
            self._costs.clear()
        self._costs[name] = cost


class _Metered(Awaitable[T]):
    """A coroutine of which each step is timed."""

    def __init__(
        self,
        coroutine: Coroutine[Any, Any, T],
        spent: Callable[[], float],
        count: Callable[[float], None],
    ) -> None:
        self._coroutine = coroutine
        self._spent = spent
        self._count = count

    def __await__(self) -> Generator[Any, Any, T]:
        resume: Callable[[Any], Any] = self._coroutine.send
        given: Any = None
        while True:
            begin = self._spent()
            try:
                awaited = resume(given)
            except StopIteration as end:
                answer: T = end.value
                return answer
            finally:
                self._count(self._spent() - begin)
            try:
                given = yield awaited
            except GeneratorExit:
                self._coroutine.close()
                raise
            except BaseException as error:  # noqa: BLE001 - the coroutine's, whatever it is
                resume, given = self._coroutine.throw, error
            else:
                resume = self._coroutine.send
