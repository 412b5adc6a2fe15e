"""How much a step may take on, so that it does not last long: whoever comes waits for it. Pure."""

from __future__ import annotations

STEP_SECONDS = 0.01
"""That a step may take in any case; half of it while several clients ask for something."""

TIMES = 2.0
"""That a step may last as long as one of few tokens: with less, most of its time would be what any
step costs, and where tokens cost next to nothing no step would ever become large."""

LEAST = 32
"""Tokens that any step may take on: with fewer, what a step costs beside them would count more."""

LEAST_PLACES = 8
"""Places of a text at which any step may weigh a vocabulary: for fewer it takes hardly less."""

_SMOOTHING = 0.3
_SLOWLY = 0.03


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
        # By whether others ask for something: who is alone is not slowed down by a busy machine.
        self._places = {True: float(LEAST_PLACES), False: float(4 * LEAST_PLACES)}

    @property
    def tokens(self) -> int:
        """That the next step may take on."""
        if not self._token_seconds:
            return self._most
        wanted = int(self._seconds(contested=False) / self._token_seconds)
        return min(self._most, max(self._least, wanted))

    def places(self, *, contested: bool) -> int:
        """Of one text that the next step may look at.

        Args:
            contested: whether others ask for something: then it lasts no longer than a step of few
                tokens, so that theirs take at most twice as long as alone.
        """
        return int(self._places[contested])

    def in_tokens(self, seconds: float) -> int:
        """So long as tokens of a larger step; 0: that is not known."""
        return int(seconds / self._token_seconds) if self._token_seconds else 0

    def count(self, tokens: int, seconds: float) -> None:
        """A step has taken on so many tokens, and lasted so long."""
        if tokens <= self._least:
            # What is few for one is not for another: of them the quickest count.
            smoothing = _SLOWLY if 0 < self._few_seconds < seconds else _SMOOTHING
            self._few_seconds += smoothing * (seconds - self._few_seconds)
        if tokens >= self._least:
            self._token_seconds += _SMOOTHING * (seconds / tokens - self._token_seconds)

    def count_places(self, seconds: float, *, contested: bool) -> None:
        """A step has looked at all places that it might, and lasted so long."""
        ratio = self._seconds(contested=contested) / max(seconds, 1e-6)
        # Twice as many take less than twice as long: it gets there in several steps.
        wanted = self._places[contested] * min(2.0, max(0.5, ratio)) ** 0.5
        least = LEAST_PLACES if contested else 4 * LEAST_PLACES
        self._places[contested] = max(least, min(wanted, self._most))

    def _seconds(self, *, contested: bool) -> float:
        seconds = max(STEP_SECONDS, TIMES * self._few_seconds)
        return seconds / TIMES if contested else seconds
