"""Work that takes longer than a call: callers ask again until it is done."""

from __future__ import annotations

import asyncio
import contextvars
import copy
from collections.abc import Callable, Coroutine, Hashable
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar

T = TypeVar("T")

POLL_SECONDS = 10.0
"""How long a call waits for the end."""

KEPT_SECONDS = 600.0
"""How long what nobody asks after any more is kept when it has ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Polled(Generic[T]):
    """What a call gets: the result, if it is there, and how far the work is."""

    result: T | None
    done: int


class Operations(Generic[T]):
    """At most one piece of work for each key; it goes on between the calls that ask after it."""

    def __init__(self) -> None:
        self._tasks: dict[Hashable, asyncio.Task[T]] = {}
        self._done: dict[Hashable, int] = {}

    async def poll(
        self, key: Hashable, begin: Callable[[Callable[[int], None]], Coroutine[Any, Any, T]]
    ) -> Polled[T]:
        """Begin the work, unless it goes on, and wait for it for a while.

        Args:
            key: of the work.
            begin: the work; it is given what to tell its progress to.

        Raises:
            BaseException: what the work raised; asked again, it begins anew.
        """
        task = self._tasks.get(key)
        if task is None:

            def tell(done: int) -> None:
                self._done[key] = done

            # Not in the caller's context: its deadline is not that of the work.
            task = asyncio.create_task(begin(tell), context=contextvars.Context())
            self._tasks[key] = task
            task.add_done_callback(partial(self._ended, key))
        await asyncio.wait({task}, timeout=POLL_SECONDS)
        done = self._done.get(key, 0)
        if not task.done():
            return Polled(result=None, done=done)
        self._forget(key, task)
        if (error := task.exception()) is not None:
            # A copy: several calls may wait, and each lets go of the frames of what it raises.
            raise copy.copy(error) from None
        return Polled(result=task.result(), done=done)

    async def close(self) -> None:
        """End all work."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _ended(self, key: Hashable, task: asyncio.Task[T]) -> None:
        if not task.cancelled():
            task.exception()  # Taken: whoever asks hears of it, and there may be nobody.
        asyncio.get_running_loop().call_later(KEPT_SECONDS, self._forget, key, task)

    def _forget(self, key: Hashable, task: asyncio.Task[T]) -> None:
        if self._tasks.get(key) is task:
            del self._tasks[key]
            self._done.pop(key, None)
