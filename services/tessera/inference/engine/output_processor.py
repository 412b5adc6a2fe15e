"""Who waits for what: hands the results of steps to their readers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tessera import errors
from tessera.inference.engine.finite import Corruption, NotFinite
from tessera.inference.engine.model_runner import StepOutput
from tessera.inference.engine.plan import Item
from tessera.inference.engine.request_state import RequestState
from tessera.inference.engine.stream import OutputQueue, Recipient, StepResult


@dataclass(frozen=True, slots=True)
class _Entry:
    state: RequestState
    recipient: Recipient


class OutputProcessor:
    """Requests that are not answered yet.

    Args:
        output_queue: takes what is for their readers.
    """

    def __init__(self, output_queue: OutputQueue) -> None:
        self.corruption = Corruption()
        self._output_queue = output_queue
        self._entries: dict[int, _Entry] = {}
        self._last = 0
        self._urgent = False

    def numbers(self, count: int) -> range:
        """Numbers for new items, higher than all before."""
        first, self._last = self._last + 1, self._last + count
        return range(first, self._last + 1)

    def enter(self, states: Iterable[RequestState], recipient: Recipient) -> None:
        """Remember who waits for items."""
        for state in states:
            self._entries[state.item.number] = _Entry(state, recipient)

    def withdraw(self, recipient: Recipient) -> list[Item]:
        """Forget a request; returns its items that had not ended."""
        parts = [self._entries.pop(number, None) for number in recipient.numbers]
        return [part.state.item for part in parts if part is not None]

    def hand_out(self, done: Iterable[tuple[Item, StepOutput]]) -> list[Item]:
        """Take the results of a step; returns the items that have ended.

        What is for items that nobody waits for any more is dropped. A request with an item whose
        numbers are not finite ends with an error, and it alone.
        """
        ended: list[Item] = []
        for item, result in done:
            entry = self._entries.get(item.number)
            if entry is None:
                continue  # Cancelled during the step, or ended with another item of its request.
            if isinstance(result, NotFinite):
                ended.extend(self._give_up(entry.recipient, self.corruption.ended(item.version)))
                continue
            self.corruption.answered(item.version)
            part = entry.state.accept(result)
            if part is not None:
                self._output_queue.put(entry.recipient, StepResult(item.number, part))
            self._urgent = self._urgent or entry.state.first or entry.state.ended
            if entry.state.ended:
                del self._entries[item.number]
                ended.append(item)
        return ended

    def fail(self, items: Iterable[Item], error: errors.TesseraError) -> list[Item]:
        """End the requests that items are a part of; returns all of their items."""
        found = (self._entries.get(item.number) for item in items)
        gone = []
        for recipient in dict.fromkeys(entry.recipient for entry in found if entry is not None):
            gone.extend(self._give_up(recipient, error))
        self._output_queue.flush(urgent=True)
        return gone

    def fail_all(self, error: errors.TesseraError) -> list[Item]:
        """End all requests."""
        return self.fail([entry.state.item for entry in self._entries.values()], error)

    def _give_up(self, recipient: Recipient, error: errors.TesseraError) -> list[Item]:
        """End a request; returns its items that had not ended."""
        self._output_queue.put(recipient, error)
        self._urgent = True
        return self.withdraw(recipient)

    def flush(self) -> None:
        """Wake the readers of what cannot wait for the next step."""
        urgent, self._urgent = self._urgent, False
        self._output_queue.flush(urgent=urgent)
