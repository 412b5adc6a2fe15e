"""What waits, by who asked for it: nobody waits for all that another has asked before. Pure.

Deficit round robin with two lists, as FQ-CoDel has it (RFC 8290): each client in turn has so many
tokens computed, and one that had nothing here comes first, once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator
from heapq import merge
from itertools import groupby

from tessera.inference.engine.plan import Item
from tessera.inference.engine.pooling import PoolingRequest


class _Client:
    """What waits of one client: two queues, for texts to read may overtake."""

    __slots__ = ("credit", "reads", "writes")

    def __init__(self, credit: int) -> None:
        self.credit = credit
        self.reads: deque[Item] = deque()
        self.writes: deque[Item] = deque()

    def head(self, *, reads_only: bool) -> Item | None:
        """Its oldest item that may go now."""
        queues = (self.reads,) if reads_only else (self.reads, self.writes)
        heads = [queue[0] for queue in queues if queue]
        return min(heads, key=lambda item: item.number, default=None)


class FairQueue:
    """Items of several clients that wait.

    Args:
        quantum: tokens that a client has computed in its turn; whoever asks for less waits for one
            turn of each other client at most.
    """

    def __init__(self, quantum: int) -> None:
        self._quantum = quantum
        self._clients: dict[str, _Client] = {}
        self._new: deque[str] = deque()
        self._old: deque[str] = deque()

    def __iter__(self) -> Iterator[Item]:
        for client in self._clients.values():
            yield from client.reads
            yield from client.writes

    def __bool__(self) -> bool:
        return any(client.reads or client.writes for client in self._clients.values())

    def append(self, item: Item) -> None:
        """Let an item wait, behind those of its client."""
        client = self._clients.get(item.client)
        if client is None:
            client = self._clients[item.client] = _Client(self._quantum)
            self._new.append(item.client)
        (client.reads if isinstance(item, PoolingRequest) else client.writes).append(item)

    def head(self, *, reads_only: bool = False) -> Item | None:
        """The item whose turn it is; None: nothing waits that may go.

        Args:
            reads_only: only texts to read may go.
        """
        while True:
            self._forget_idle()
            for name in (*self._new, *self._old):
                client = self._clients[name]
                item = client.head(reads_only=reads_only)
                if item is None:
                    continue
                if client.credit > 0:
                    return item
                client.credit += self._quantum
                self._to_the_end(name)
                break
            else:
                return None

    def pop(self, item: Item, cost: int) -> None:
        """Take out an item that is the first of its queue; it counts for its client's turn."""
        client = self._clients[item.client]
        queue = client.reads if isinstance(item, PoolingRequest) else client.writes
        assert queue[0] is item
        queue.popleft()
        client.credit -= cost

    def remove(self, numbers: Collection[int]) -> list[Item]:
        """Take out items by their numbers; returns those that were in."""
        gone: list[Item] = []
        for client in self._clients.values():
            for queue in (client.reads, client.writes):
                taken = [item for item in queue if item.number in numbers]
                if taken:
                    gone.extend(taken)
                    rest = [item for item in queue if item.number not in numbers]
                    queue.clear()
                    queue.extend(rest)
        return gone

    def writers(self) -> Iterator[Item]:
        """Of each client the first sequence that waits, in the order of their turns."""
        for name in (*self._new, *self._old):
            if writes := self._clients[name].writes:
                yield writes[0]

    def newest(self, name: str) -> Iterator[list[Item]]:
        """Requests of a client of which something waits, the newest first: what waits of each."""
        if client := self._clients.get(name):
            queues = (reversed(client.reads), reversed(client.writes))
            by_age = merge(*queues, key=lambda item: -item.number)
            for _, group in groupby(by_age, key=lambda item: item.group):
                yield list(group)

    def _to_the_end(self, name: str) -> None:
        (self._new if name in self._new else self._old).remove(name)
        self._old.append(name)

    def _forget_idle(self) -> None:
        """Who has nothing more goes to the end once before it may be new again.

        Else whoever asks for one thing after another would always be first.
        """
        for name in list(self._new):
            if self._idle(name):
                self._to_the_end(name)
        while self._old and self._idle(self._old[0]):
            del self._clients[self._old.popleft()]

    def _idle(self, name: str) -> bool:
        client = self._clients[name]
        return not (client.reads or client.writes)
