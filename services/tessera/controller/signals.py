"""Wake-ups inside this process: a hint to look again, never a source of truth."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress

LOOK_AGAIN = 15.0
"""Seconds after which a watcher looks at the store without a wake-up."""

ADMISSION = "admission"
OUTBOX = "outbox"
SERVICES = "services"


def job_key(job: str) -> str:
    """Woken when a job's history or progress grows."""
    return f"job/{job}"


def metrics_key(job: str) -> str:
    """Woken when a job's metrics grow."""
    return f"metrics/{job}"


def logs_key(job: str) -> str:
    """Woken when a job's logs grow."""
    return f"logs/{job}"


class Wakeup:
    """Remembers a wake-up that comes while its owner is busy."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def set(self) -> None:
        """Wake the owner."""
        self._event.set()

    async def wait(self, seconds: float = LOOK_AGAIN) -> None:
        """Return at the next wake-up, or after `seconds`; earlier wake-ups count."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._event.wait()
        self._event.clear()


class Signals:
    """Wakes whoever listens to a key. Used on one event loop only."""

    def __init__(self) -> None:
        self._listeners: dict[str, set[Wakeup]] = defaultdict(set)

    def wake(self, *keys: str) -> None:
        """Wake all who listen to the keys."""
        for key in keys:
            for listener in self._listeners.get(key, ()):
                listener.set()

    @contextmanager
    def listen(self, *keys: str) -> Iterator[Wakeup]:
        """A wake-up that the keys set, for as long as the context lasts."""
        wakeup = Wakeup()
        for key in keys:
            self._listeners[key].add(wakeup)
        try:
            yield wakeup
        finally:
            for key in keys:
                self._listeners[key].discard(wakeup)
                if not self._listeners[key]:
                    del self._listeners[key]
