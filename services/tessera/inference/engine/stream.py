"""The hand-over of an answer from the engine's thread to an event loop."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable

from tessera import errors
from tessera.inference.engine.answer import Output

Item = Output | errors.TesseraError


class Stream:
    """Parts of one answer on their way to one reader.

    Parts that the reader has not yet fetched become one, so a slow reader gets fewer, longer parts.
    Made on the reader's loop; everything but `loop` belongs to that loop.
    """

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self._ready = asyncio.Event()
        self._part: Output | None = None
        self._error: errors.TesseraError | None = None
        self._ended = False

    def put(self, item: Item) -> None:
        """Append a part, or end the stream with an error."""
        if isinstance(item, Output):
            self._part = item if self._part is None else self._part.then(item)
        else:
            self._error = item
        self._ready.set()

    async def take(self) -> Output | None:
        """The next part; None after the last one.

        Raises:
            TesseraError: the answer was broken off; parts before that have been taken.
        """
        if self._ended:
            return None
        await self._ready.wait()
        self._ready.clear()
        part, self._part = self._part, None
        if part is None:
            assert self._error is not None
            self._ended = True
            raise self._error
        if self._error is not None:
            self._ready.set()
        self._ended = part.finish is not None
        return part


def deliver(items: Iterable[tuple[Stream, Item]]) -> None:
    """Hand items over to their loops, one wake-up for each loop however many there are.

    Called from any thread. What is for a loop that is closed is dropped.
    """
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[Stream, Item]]] = {}
    for stream, item in items:
        by_loop.setdefault(stream.loop, []).append((stream, item))
    for loop, batch in by_loop.items():
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(_put_all, batch)


def _put_all(batch: list[tuple[Stream, Item]]) -> None:
    for stream, item in batch:
        stream.put(item)
