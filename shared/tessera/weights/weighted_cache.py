"""What was worked out, kept as long as all of it together is not too heavy. Pure."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class WeightedCache(Generic[K, V]):
    """Values by key; those that nobody asked for longest go first. Thread-safe.

    Args:
        limit: of the sum of weights.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._weight = 0
        self._lock = threading.Lock()
        self._held: OrderedDict[K, tuple[V, int]] = OrderedDict()

    @property
    def weight(self) -> int:
        """Of all that is held."""
        return self._weight

    def get(self, key: K) -> V | None:
        """What is held under a key."""
        with self._lock:
            found = self._held.get(key)
            if found is None:
                return None
            self._held.move_to_end(key)
            return found[0]

    def keep(self, key: K, value: V, weight: int) -> V:
        """Hold a value; returns it, or the one that another thread has put there meanwhile."""
        with self._lock:
            found = self._held.get(key)
            if found is not None:
                return found[0]
            if weight <= self._limit:
                self._held[key] = (value, weight)
                self._weight += weight
            while self._weight > self._limit:
                _, (_, gone) = self._held.popitem(last=False)
                self._weight -= gone
            return value
