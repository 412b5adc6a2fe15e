"""Whose turn it is: the queue with the smallest dominant share, branch by branch. Pure."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping

from tessera.controller.scheduling.quota import QueueBranch


class QueueTurns:
    """Queues that have work to be looked at.

    At each branch the child with the smallest share per weight comes first, by name among equals.
    """

    def __init__(
        self, queues: Iterable[QueueBranch], totals: Mapping[str, int], now: float
    ) -> None:
        self._totals, self._now = totals, now
        self._heaps: dict[str, list[tuple[float, str]]] = {}
        self._branches: dict[str, QueueBranch] = {}
        for queue in queues:
            self._add(queue)
        for heap in self._heaps.values():
            heapq.heapify(heap)

    def _add(self, queue: QueueBranch) -> None:
        for branch in queue.path():
            if branch.queue.name in self._branches:
                return
            self._branches[branch.queue.name] = branch
            above = branch.parent.queue.name if branch.parent else ""
            self._heaps.setdefault(above, []).append((self._share(branch), branch.queue.name))

    def _share(self, branch: QueueBranch) -> float:
        weight = max(branch.queue.weight, 1e-9)
        return branch.history.dominant(self._totals, self._now) / weight

    def first(self) -> str | None:
        """The queue whose turn it is; None: no work is left."""
        name = ""
        while heap := self._heaps.get(name):
            name = heap[0][1]
        return name or None

    def served(self, *, done: bool) -> None:
        """The first was looked at, and its shares may have grown; `done`: it has no work left."""
        way = [""]
        while heap := self._heaps.get(way[-1]):
            way.append(heap[0][1])
        for above, name in zip(way[-2::-1], way[:0:-1], strict=True):
            heap = self._heaps[above]
            if done:
                heapq.heappop(heap)
            else:
                heapq.heapreplace(heap, (self._share(self._branches[name]), name))
            done = not heap
