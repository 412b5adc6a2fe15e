"""A queue of things that happen, by time. Pure."""

from __future__ import annotations

import heapq
from collections.abc import Callable

Happening = Callable[[], None]


class SimulatedClock:
    """Runs what is due, in order of time and then of entry; `now` is in seconds."""

    def __init__(self) -> None:
        self.now = 0.0
        self._queue: list[tuple[float, int, Happening]] = []
        self._entered = 0

    def at(self, time: float, happening: Happening) -> None:
        """Something happens then."""
        self._entered += 1
        heapq.heappush(self._queue, (max(time, self.now), self._entered, happening))

    def step(self) -> bool:
        """Let all that happens at the next moment happen; False: nothing is left."""
        if not self._queue:
            return False
        self.now = self._queue[0][0]
        while self._queue and self._queue[0][0] <= self.now:
            heapq.heappop(self._queue)[2]()
        return True

    def next_time(self) -> float | None:
        """When the next thing happens; None: nothing is left."""
        return self._queue[0][0] if self._queue else None
