"""How long a lease is surely held, by a clock of the holder's own. Pure."""

from __future__ import annotations

from dataclasses import dataclass

TTL_SECONDS = 10.0
RENEW_SECONDS = 3.0
STANDBY_SECONDS = 1.0
"""A standby looks so often: the last renewal and a look are over in 15 s at the latest."""

MARGIN_SECONDS = 2.0
"""Of its lease a holder does not use the end: what it begins then could end after it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldLease:
    """A lease that was taken or renewed.

    Args:
        token: fencing token; each holder has a greater one than the last.
        asked: when it was asked for, in seconds of the holder's monotonic clock. The database
            counts from a moment that came later, so the holder never believes in it for too long.
    """

    token: int
    asked: float

    def surely(self, now: float) -> bool:
        """Whether nobody else can have taken it by `now`, with time left to act."""
        return 0 <= now - self.asked < TTL_SECONDS - MARGIN_SECONDS
