"""Whether several clients ask for something, one or all of them again and again. Pure."""

from __future__ import annotations

from collections.abc import Iterable

LATELY_SECONDS = 1.0
"""After which a client that has asked for nothing more is not expected to."""


class Contention:
    """Knows who had a turn lately."""

    def __init__(self) -> None:
        self._last: dict[str, float] = {}

    def count(self, clients: Iterable[str], now: float) -> None:
        """These have a turn; now: seconds."""
        self._last.update(dict.fromkeys(clients, now))
        if any(now - last > LATELY_SECONDS for last in self._last.values()):
            last = self._last.items()
            self._last = {name: at for name, at in last if now - at <= LATELY_SECONDS}

    def beside(self, client: str, now: float) -> bool:
        """Whether another had a turn lately."""
        return any(
            name != client and now - last <= LATELY_SECONDS for name, last in self._last.items()
        )
