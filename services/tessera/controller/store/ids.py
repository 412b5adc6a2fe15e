"""Sortable ids: of jobs and of ensure jobs, legal as Ray submission ids, and of tokens."""

from __future__ import annotations

import threading

from ulid import ULID


class Ids:
    """Makes ids that grow strictly, also within one millisecond."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = 0

    def job(self) -> str:
        """The id of a new job."""
        return f"job-{self._next()}"

    def ensure(self, what: str) -> str:
        """The submission id of a new ensure job."""
        return f"ensure-{what}-{self._next()}"

    def token(self) -> str:
        """The id of a new token."""
        return self._next()

    def _next(self) -> str:
        with self._lock:
            self._last = max(int(ULID()), self._last + 1)
            return str(ULID.from_int(self._last)).lower()
