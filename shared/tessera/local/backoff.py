"""How long to wait before a process that died is started again."""

from __future__ import annotations

from tessera.rpc.retry import Pauses

FIRST_SECONDS = 0.2
MOST_SECONDS = 10.0
HEALTHY_SECONDS = 30.0


class Backoff:
    """Waits longer after every early death; a life of `HEALTHY_SECONDS` forgives them all."""

    def __init__(self) -> None:
        self._pauses = Pauses(first=FIRST_SECONDS, longest=MOST_SECONDS)

    @property
    def deaths(self) -> int:
        """Early ones in a row."""
        return self._pauses.failures

    def died(self, lived: float) -> float:
        """Seconds to wait after a life of `lived` seconds."""
        if lived >= HEALTHY_SECONDS:
            self._pauses.forgive()
        return self._pauses.failed()
