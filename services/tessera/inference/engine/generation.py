"""One submitted request, as its reader holds it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

from tessera.inference.engine.answer import Answer, Output
from tessera.inference.engine.stream import Stream


class Generation:
    """Iterate over it for the parts of the answer, or cancel it.

    Args:
        answer: that grows.
        cancel: tells the engine that nobody waits for it any more.
    """

    def __init__(self, answer: Answer, cancel: Callable[[Generation], None]) -> None:
        self.answer = answer
        self.stream = Stream()
        self._cancel = cancel

    @property
    def number(self) -> int:
        """Of its sequence."""
        return self.answer.sequence.number

    def cancel(self) -> None:
        """Give it up, from any thread; the work stops within one step. Harmless when it ended."""
        self._cancel(self)

    async def __aiter__(self) -> AsyncIterator[Output]:
        """Parts of the answer; leaving early cancels.

        Raises:
            TesseraError: the engine broke the answer off.
        """
        try:
            while (part := await self.stream.take()) is not None:
                yield part
        finally:
            self.cancel()
