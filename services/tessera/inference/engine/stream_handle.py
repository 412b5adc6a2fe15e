"""One submitted request, as its reader holds it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

from tessera import errors
from tessera.inference.engine.detokenizer import OutputDelta
from tessera.inference.engine.stream import Recipient, StepResult, Stream


class StreamHandle:
    """Iterate over it for the parts of the answer, or cancel it.

    Args:
        number: of its sequence.
        cancel: tells the engine that nobody waits for it any more.
    """

    def __init__(self, number: int, cancel: Callable[[Recipient], None]) -> None:
        self.numbers: tuple[int, ...] = (number,)
        self._stream = Stream()
        self.loop = self._stream.loop
        self._cancel = cancel

    def put(self, item: StepResult | errors.TesseraError) -> None:
        """Append a part, or end it with an error."""
        self._stream.put(item)

    def cancel(self) -> None:
        """Give it up, from any thread; the work stops within one step. Harmless when it ended."""
        self._cancel(self)

    async def __aiter__(self) -> AsyncIterator[OutputDelta]:
        """Parts of the answer; leaving early cancels.

        Raises:
            TesseraError: the engine broke the answer off.
        """
        try:
            while (part := await self._stream.take()) is not None:
                yield part
        finally:
            self.cancel()
