"""Places of a server, shared fairly between tenants, and between the principals of each. Pure."""

from __future__ import annotations

from collections import Counter
from threading import Lock


class Shares:
    """Places of which each takes at most as many as it leaves free. Thread-safe.

    This is the dynamic threshold of shared-memory switches (Choudhury and Hahne, 1998): no share is
    set aside, yet whoever comes next has places. A tenant alone gets a half, a principal alone a
    third; of two tenants each gets a third, and a third is left for others.

    Args:
        capacity: places.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._taken = 0
        self._tenants: Counter[str] = Counter()
        self._principals: Counter[tuple[str, str]] = Counter()
        self._lock = Lock()

    @property
    def taken(self) -> int:
        """Places that are taken."""
        return self._taken

    def take(self, tenant: str, subject: str) -> bool:
        """Take a place for a principal; False: it, its tenant, or all have enough."""
        with self._lock:
            free = self._capacity - self._taken - self._tenants[tenant]
            if self._principals[tenant, subject] >= free:
                self._forget(tenant, subject)
                return False
            self._taken += 1
            self._tenants[tenant] += 1
            self._principals[tenant, subject] += 1
            return True

    def give(self, tenant: str, subject: str) -> None:
        """Give a place back."""
        with self._lock:
            self._taken -= 1
            self._tenants[tenant] -= 1
            self._principals[tenant, subject] -= 1
            self._forget(tenant, subject)

    def _forget(self, tenant: str, subject: str) -> None:
        """Keep no count of who has nothing: names come and go."""
        if not self._principals[tenant, subject]:
            del self._principals[tenant, subject]
        if not self._tenants[tenant]:
            del self._tenants[tenant]
