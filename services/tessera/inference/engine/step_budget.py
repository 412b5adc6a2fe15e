"""How much a step may take on, so that it does not last long: whoever comes waits for it. Pure."""

from __future__ import annotations

STEP_SECONDS = 0.01
"""That a step may take in any case."""

TIMES = 2.0
"""That a step may last as long as one of few tokens: who comes while it runs waits for half of it,
on average, which is as long as its own step takes."""

LEAST = 32
"""Tokens that any step may take on: with fewer, what a step costs beside them would count more."""

_SMOOTHING = 0.3


class StepBudget:
    """Learns how fast steps are.

    Args:
        most: tokens of a step, however fast they are.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._least = min(LEAST, most)
        # Of a token in a larger step, and of a step of few tokens.
        self._token_seconds = 0.0
        self._few_seconds = 0.0

    @property
    def seconds(self) -> float:
        """That the next step should take at most."""
        return max(STEP_SECONDS, TIMES * self._few_seconds)

    @property
    def tokens(self) -> int:
        """That the next step may take on."""
        if not self._token_seconds:
            return self._most
        return min(self._most, max(self._least, int(self.seconds / self._token_seconds)))

    def count(self, tokens: int, seconds: float, *, cut: bool = False) -> None:
        """A step has taken on so many tokens, and lasted so long; cut: there was more to do."""
        if tokens <= self._least and not cut:
            self._few_seconds += _SMOOTHING * (seconds - self._few_seconds)
        if tokens >= self._least:
            self._token_seconds += _SMOOTHING * (seconds / tokens - self._token_seconds)
