"""Work that waits, by queue and in classes that wait for the same. Pure."""

from __future__ import annotations

import heapq
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field

from tessera.controller.scheduling.option import Option, options
from tessera.controller.scheduling.workload import Workload

WAYS = 4096
"""Kinds of work whose options are remembered."""


@dataclass(slots=True, kw_only=True, eq=False)
class WorkloadClass:
    """Workloads that ask for the same in the same queue: what stops one stops all.

    Args:
        key: what tells it from other classes of its queue.
        sample: any of them.
        members: by id.
        ways: to place it, for some flavours: see `WaitingWorkloads.ways`.
        stopped: a pass has looked at it, and nothing that could help it has happened since.
    """

    key: Hashable
    sample: Workload
    members: dict[str, Workload] = field(default_factory=dict)
    stopped: bool = False
    ways: tuple[Option, ...] = ()
    ways_for: tuple[str, ...] | None = None
    _order: list[tuple[float, str]] = field(default_factory=list)

    def add(self, work: Workload) -> None:
        """One more."""
        self.members[work.id] = work
        heapq.heappush(self._order, (work.arrival, work.id))

    def head(self) -> Workload:
        """The one that came first."""
        while True:
            arrival, id_ = self._order[0]
            work = self.members.get(id_)
            if work is not None and work.arrival == arrival:
                return work
            heapq.heappop(self._order)

    def rank(self) -> tuple[int, float, str]:
        """Its place in its queue: the lowest is considered first."""
        head = self.head()
        return -head.priority, head.arrival, head.id


class WaitingWorkloads:
    """All that waits for room, and beside it all that is held for another cause."""

    def __init__(self) -> None:
        self.queues: dict[str, dict[Hashable, WorkloadClass]] = {}
        self.held: dict[str, Workload] = {}
        self._class_of: dict[str, WorkloadClass] = {}
        self._until: list[tuple[float, str]] = []
        self._ways: dict[Hashable, tuple[Option, ...]] = {}

    def __contains__(self, id_: str) -> bool:
        return id_ in self._class_of or id_ in self.held

    def __len__(self) -> int:
        return len(self._class_of) + len(self.held)

    def get(self, id_: str) -> Workload | None:
        """One of them."""
        kind = self._class_of.get(id_)
        return self.held.get(id_) if kind is None else kind.members[id_]

    def class_of(self, id_: str) -> WorkloadClass:
        """The class of one that waits for room."""
        return self._class_of[id_]

    def ways(self, kind: WorkloadClass, known: tuple[str, ...]) -> tuple[Option, ...]:
        """The ways to place a class, the best first; `known` are the flavours that there are."""
        if kind.ways_for is not known:
            work, kind.ways_for = kind.sample, known
            key = work.sets, work.flavours, known
            if key not in self._ways:
                if len(self._ways) >= WAYS:
                    self._ways.clear()
                self._ways[key] = options(work, known)
            kind.ways = self._ways[key]
        return kind.ways

    def classes(self) -> Iterator[WorkloadClass]:
        """Every class that waits for room."""
        for classes in self.queues.values():
            yield from classes.values()

    def add(self, work: Workload) -> WorkloadClass | None:
        """One more; None: it is held."""
        if work.hold is not None:
            self.held[work.id] = work
            if work.hold.until is not None:
                heapq.heappush(self._until, (work.hold.until, work.id))
            return None
        classes = self.queues.setdefault(work.queue, {})
        key = work.alike()
        kind = classes.get(key)
        if kind is None:
            kind = classes[key] = WorkloadClass(key=key, sample=work)
        kind.add(work)
        self._class_of[work.id] = kind
        return kind

    def remove(self, id_: str) -> Workload:
        """One less."""
        kind = self._class_of.pop(id_, None)
        if kind is None:
            return self.held.pop(id_)
        work = kind.members.pop(id_)
        if not kind.members:
            classes = self.queues[work.queue]
            del classes[kind.key]
            if not classes:
                del self.queues[work.queue]
        return work

    def released(self, now: float) -> list[Workload]:
        """What is held no longer, its time being over; it is taken out."""
        result = []
        while self._until and self._until[0][0] <= now:
            until, id_ = heapq.heappop(self._until)
            work = self.held.get(id_)
            if work is not None and work.hold is not None and work.hold.until == until:
                result.append(self.held.pop(id_))
        return result

    def next_release(self) -> float | None:
        """When the next hold ends by itself; None: none does."""
        return self._until[0][0] if self._until else None
