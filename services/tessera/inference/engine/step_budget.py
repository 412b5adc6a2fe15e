"""How much a step may take on, so that it does not last long: whoever comes waits for it. Pure."""

from __future__ import annotations

STEP_SECONDS = 0.05
"""That a step should take at most."""

LEAST = 64
"""Tokens that any step may take on: with fewer, what a step costs beside them would count more."""

_SMOOTHING = 0.3


class StepBudget:
    """Learns how fast steps are.

    Args:
        most: tokens of a step, however fast they are.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._seconds = 0.0

    @property
    def tokens(self) -> int:
        """That the next step may take on."""
        if not self._seconds:
            return self._most
        return min(self._most, max(LEAST, int(STEP_SECONDS / self._seconds)))

    def count(self, tokens: int, seconds: float) -> None:
        """A step has taken on so many tokens, and lasted so long; small ones teach nothing."""
        if tokens >= min(LEAST, self._most):
            self._seconds += _SMOOTHING * (seconds / tokens - self._seconds)
