"""The hand-over of an answer from the engine's thread to an event loop."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

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


class Outbox:
    """Items on their way to their loops; whoever puts them in belongs to one thread.

    One wake-up takes all items of a loop, and what is not urgent waits a little for more: waking a
    loop and sending a message cost more than a token.

    Args:
        patience: seconds that an item may wait for others.
        clock: seconds.
    """

    def __init__(self, patience: float, clock: Callable[[], float]) -> None:
        self._patience = patience
        self._clock = clock
        self._items: list[tuple[Stream, Item]] = []
        self._flushed = clock()

    def put(self, stream: Stream, item: Item) -> None:
        """Put an item in."""
        self._items.append((stream, item))

    def flush(self, *, urgent: bool) -> None:
        """Hand the items over if one of them is urgent, or the first has waited long enough.

        What is for a loop that is closed is dropped.
        """
        now = self._clock()
        if not self._items or not (urgent or now - self._flushed >= self._patience):
            return
        self._flushed = now
        by_loop: dict[asyncio.AbstractEventLoop, list[tuple[Stream, Item]]] = {}
        for stream, item in self._items:
            by_loop.setdefault(stream.loop, []).append((stream, item))
        self._items = []
        for loop, batch in by_loop.items():
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(_put_all, batch)


def _put_all(batch: list[tuple[Stream, Item]]) -> None:
    for stream, item in batch:
        stream.put(item)
