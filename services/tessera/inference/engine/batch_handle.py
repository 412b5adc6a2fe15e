"""The results of a request of several items, as its reader holds them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar, cast

from tessera import errors
from tessera.inference.engine.stream import Recipient, StepResult

R = TypeVar("R")


class BatchHandle(Generic[R]):
    """Await it for the results in the order of the items, or cancel it.

    Made on the reader's loop; everything but `loop`, `numbers` and `cancel` belongs to that loop.

    Args:
        numbers: of the items.
        version: of the weights.
        cancel: tells the engine that nobody waits for it any more.
    """

    def __init__(
        self, numbers: tuple[int, ...], version: int, cancel: Callable[[Recipient], None]
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.numbers = numbers
        self.version = version
        self._cancel = cancel
        self._results: dict[int, R] = {}
        self._error: errors.TesseraError | None = None
        self._ready = asyncio.Event()

    def put(self, item: StepResult | errors.TesseraError) -> None:
        """Add a result, or break off with an error."""
        if isinstance(item, StepResult):
            # An item brings what its `Work` says; `InputProcessor.part` sees to that.
            self._results[item.number] = cast("R", item.value)
        else:
            self._error = item
        if self._error is not None or len(self._results) == len(self.numbers):
            self._ready.set()

    def cancel(self) -> None:
        """Give it up, from any thread; the work stops within one step. Harmless when it ended."""
        self._cancel(self)

    async def results(self) -> list[R]:
        """All results; leaving early cancels.

        Raises:
            TesseraError: the engine broke off.
        """
        try:
            await self._ready.wait()
            if self._error is not None:
                raise self._error
            return [self._results[number] for number in self.numbers]
        finally:
            self.cancel()
