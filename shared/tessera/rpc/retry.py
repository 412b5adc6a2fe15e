"""Trying again: pauses that double, and an end to patience."""

from __future__ import annotations

import time

_MOST_DOUBLINGS = 16


class Pauses:
    """How long to wait after each failure in a row: twice as long as after the one before.

    Args:
        first: seconds.
        longest: seconds.
    """

    def __init__(self, *, first: float, longest: float) -> None:
        self._first = first
        self._longest = longest
        self.failures = 0

    def failed(self) -> float:
        """Seconds to wait after one more failure."""
        self.failures += 1
        return min(self._longest, self._first * 2.0 ** min(self.failures - 1, _MOST_DOUBLINGS))

    def forgive(self) -> None:
        """Begin anew: it went well."""
        self.failures = 0


class Retry:
    """Tries of one thing, with a pause between two, until patience is over.

    Args:
        patience: seconds.
        first: pause, in seconds.
        longest: pause, in seconds.
        from_failure: whether patience begins with the first failure; else it begins now.
    """

    def __init__(
        self,
        patience: float,
        *,
        first: float = 0.1,
        longest: float = 1.0,
        from_failure: bool = False,
    ) -> None:
        self._patience = patience
        self._pauses = Pauses(first=first, longest=longest)
        self._end = None if from_failure else time.monotonic() + patience

    def again(self) -> bool:
        """After a failure: wait and return True, or False at once where patience would be over."""
        now = time.monotonic()
        if self._end is None:
            self._end = now + self._patience
        pause = self._pauses.failed()
        if now + pause > self._end:
            return False
        time.sleep(pause)
        return True

    def succeeded(self) -> None:
        """Something came: the next failure is the first one."""
        self._end = None
        self._pauses.forgive()
