"""What waits to be delivered, numbered without gaps. Pure."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Outbox(Generic[T]):
    """A queue whose items keep their numbers until the other side has them. Thread-safe.

    Args:
        capacity: items that may wait; beyond it the oldest unsent droppable one is lost.
        droppable: whether an item may be lost.
    """

    def __init__(self, capacity: int, droppable: Callable[[T], bool] = lambda _: False) -> None:
        self._capacity = capacity
        self._droppable = droppable
        self._waiting: deque[T] = deque()
        self._sent: deque[tuple[int, T]] = deque()
        self._next = 1
        self._lock = threading.Lock()
        self.lost = 0

    def put(self, item: T) -> None:
        """Add an item; never blocks."""
        with self._lock:
            self._waiting.append(item)
            if len(self._waiting) > self._capacity:
                self._drop()

    def batch(self, limit: int) -> list[tuple[int, T]]:
        """The next items to deliver with their numbers, those not yet acknowledged first."""
        with self._lock:
            while self._waiting and len(self._sent) < limit:
                self._sent.append((self._next, self._waiting.popleft()))
                self._next += 1
            return list(self._sent)

    def acknowledge(self, number: int) -> None:
        """Everything up to this number is stored on the other side."""
        with self._lock:
            while self._sent and self._sent[0][0] <= number:
                self._sent.popleft()

    @property
    def empty(self) -> bool:
        """Whether nothing waits."""
        with self._lock:
            return not self._waiting and not self._sent

    def _drop(self) -> None:
        for index, item in enumerate(self._waiting):
            if self._droppable(item):
                del self._waiting[index]
                self.lost += 1
                return
