"""What a replica counts; `actor` passes it on to Ray. Pure."""

from __future__ import annotations

from typing import Protocol


class Meter(Protocol):
    """Takes counts and times, on the event loop."""

    def request_ended(self, method: str, outcome: str) -> None:
        """One request has ended.

        Args:
            method: of the API.
            outcome: `done`, a finish reason, `cancelled`, or an error's reason in lower case.
        """

    def request_corrupted(self, method: str) -> None:
        """A request of a method has ended because the model's numbers were not finite."""

    def tokens_written(self, count: int) -> None:
        """So many tokens were written."""

    def first_token(self, seconds: float) -> None:
        """The first token of a request came after so many seconds."""

    def load(self, *, version: int, running: int, waiting: int, free_blocks: int) -> None:
        """What the replica does now; told again and again, also where nothing has changed.

        Args:
            version: that new requests get.
            running: requests that hold blocks of the cache.
            waiting: requests that wait for some.
            free_blocks: of the cache.
        """


class NoMeter:
    """Counts nothing."""

    def request_ended(self, method: str, outcome: str) -> None:
        """Ignore it."""

    def request_corrupted(self, method: str) -> None:
        """Ignore it."""

    def tokens_written(self, count: int) -> None:
        """Ignore it."""

    def first_token(self, seconds: float) -> None:
        """Ignore it."""

    def load(self, *, version: int, running: int, waiting: int, free_blocks: int) -> None:
        """Ignore it."""
