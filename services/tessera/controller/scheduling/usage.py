"""What a queue uses and has used, decayed, and its dominant share. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

HALF_LIFE = 3600.0
"""Seconds after which use counts half."""
PAST = 0.5
"""Weight of what was used beside what is."""


@dataclass(slots=True, kw_only=True)
class UsageHistory:
    """Amounts used now, and their means over the past, by resource.

    A mean forgets by HALF_LIFE; `at` is when it was last brought up to date.
    """

    used: dict[str, int] = field(default_factory=dict)
    mean: dict[str, float] = field(default_factory=dict)
    at: float = 0.0

    def change(self, amounts: Mapping[str, int], sign: int, now: float) -> None:
        """Use more from now on, or less."""
        self._advance(now)
        for resource, amount in amounts.items():
            self.used[resource] = self.used.get(resource, 0) + sign * amount
            self.mean.setdefault(resource, 0.0)

    def _advance(self, now: float) -> None:
        if now <= self.at:
            return
        old = 0.5 ** ((now - self.at) / HALF_LIFE)
        for resource, mean in self.mean.items():
            self.mean[resource] = mean * old + self.used.get(resource, 0) * (1 - old)
        self.at = now

    def dominant(self, totals: Mapping[str, int], now: float) -> float:
        """The largest of its shares of what the fleet has, now and before (DRF, NSDI'11)."""
        self._advance(now)
        return max(
            (
                ((1 - PAST) * self.used.get(resource, 0) + PAST * mean) / totals[resource]
                for resource, mean in self.mean.items()
                if totals.get(resource)
            ),
            default=0.0,
        )
