"""How long to wait before a process that died is started again."""

from __future__ import annotations

from dataclasses import dataclass

FIRST_SECONDS = 0.2
MOST_SECONDS = 10.0
HEALTHY_SECONDS = 30.0


@dataclass(slots=True)
class Backoff:
    """Doubles the wait with every early death; a life of `HEALTHY_SECONDS` forgives them all."""

    deaths: int = 0

    def died(self, lived: float) -> float:
        """Seconds to wait after a life of `lived` seconds."""
        self.deaths = 1 if lived >= HEALTHY_SECONDS else self.deaths + 1
        return min(MOST_SECONDS, FIRST_SECONDS * 2.0 ** min(self.deaths - 1, 16))
