"""The hand-over of an answer from the engine's thread to an event loop."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from tessera import errors
from tessera.inference.engine.beam import Hypothesis
from tessera.inference.engine.detokenizer import OutputDelta
from tessera.inference.engine.pooling import HeadOutput

Part = OutputDelta | list[Hypothesis] | HeadOutput
"""What a reader gets: a part of a text, the hypotheses of a search, or what a head says."""


@dataclass(frozen=True, slots=True)
class StepResult:
    """What a step has brought for a reader.

    Args:
        number: of the item that it belongs to.
        value: the part.
    """

    number: int
    value: Part


class Recipient(Protocol):
    """A request, as its reader holds it."""

    numbers: tuple[int, ...]
    loop: asyncio.AbstractEventLoop

    def put(self, item: StepResult | errors.TesseraError) -> None:
        """Take a part or an error, on its loop."""


class Stream:
    """Parts of one answer on their way to one reader.

    Parts that the reader has not yet fetched become one, so a slow reader gets fewer, longer parts.
    Made on the reader's loop; everything but `loop` belongs to that loop.
    """

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self._ready = asyncio.Event()
        self._part: OutputDelta | None = None
        self._error: errors.TesseraError | None = None
        self._ended = False

    def put(self, item: StepResult | errors.TesseraError) -> None:
        """Append a part, or end the stream with an error."""
        if isinstance(item, StepResult):
            assert isinstance(item.value, OutputDelta)
            self._part = item.value if self._part is None else self._part.then(item.value)
        else:
            self._error = item
        self._ready.set()

    async def take(self) -> OutputDelta | None:
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


_Sent = tuple[Recipient, StepResult | errors.TesseraError]


class OutputQueue:
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
        self._items: list[_Sent] = []
        self._flushed = clock()

    def put(self, recipient: Recipient, item: StepResult | errors.TesseraError) -> None:
        """Put an item in."""
        self._items.append((recipient, item))

    def flush(self, *, urgent: bool) -> None:
        """Hand the items over if one of them is urgent, or the first has waited long enough.

        What is for a loop that is closed is dropped.
        """
        now = self._clock()
        if not self._items or not (urgent or now - self._flushed >= self._patience):
            return
        self._flushed = now
        by_loop: dict[asyncio.AbstractEventLoop, list[_Sent]] = {}
        for recipient, item in self._items:
            by_loop.setdefault(recipient.loop, []).append((recipient, item))
        self._items = []
        for loop, batch in by_loop.items():
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(_put_all, batch)


def _put_all(batch: list[_Sent]) -> None:
    for recipient, item in batch:
        recipient.put(item)
