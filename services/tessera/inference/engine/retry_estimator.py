"""How fast requests end. Pure."""

from __future__ import annotations

_SHORTEST_RETRY, _LONGEST_RETRY = 0.1, 30.0
_SMOOTHING = 0.2


class RetryEstimator:
    """A moving mean of the seconds between two ends."""

    def __init__(self) -> None:
        self._last: float | None = None
        self._seconds = 1.0

    @property
    def retry_after(self) -> float:
        """Seconds until the next one is about to end."""
        return min(max(self._seconds, _SHORTEST_RETRY), _LONGEST_RETRY)

    def count_end(self, now: float) -> None:
        """One request has ended."""
        if self._last is not None:
            self._seconds += _SMOOTHING * (now - self._last - self._seconds)
        self._last = now
