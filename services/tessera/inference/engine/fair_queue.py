"""What waits, by who asked for it: nobody waits for all that another has asked before. Pure.

Start-time fair queueing (Goyal, Vin and Cheng, 1996): the next turn is of whoever has had fewest
tokens computed, counted from when it began to wait. So whoever asks for little at a time waits for
no more than the step that is under way, and whoever asks for much has all that is left.
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

    __slots__ = ("reads", "tag", "writes")

    def __init__(self, tag: int) -> None:
        self.tag = tag
        self.reads: deque[Item] = deque()
        self.writes: deque[Item] = deque()

    @property
    def idle(self) -> bool:
        """Whether nothing of it waits."""
        return not (self.reads or self.writes)

    def head(self, *, reads_only: bool) -> Item | None:
        """Its oldest item that may go now."""
        queues = (self.reads,) if reads_only else (self.reads, self.writes)
        heads = [queue[0] for queue in queues if queue]
        return min(heads, key=lambda item: item.number, default=None)


class FairQueue:
    """Items of several clients that wait."""

    def __init__(self) -> None:
        self._clients: dict[str, _Client] = {}
        # Of the client whose turn was last: who begins to wait is no further behind.
        self._now = 0

    def __iter__(self) -> Iterator[Item]:
        for client in self._clients.values():
            yield from client.reads
            yield from client.writes

    def __bool__(self) -> bool:
        return not all(client.idle for client in self._clients.values())

    def append(self, item: Item) -> None:
        """Let an item wait, behind those of its client."""
        client = self._client(item.client)
        if client.idle:
            client.tag = max(client.tag, self._now)
        (client.reads if isinstance(item, PoolingRequest) else client.writes).append(item)

    def put_back(self, item: PoolingRequest) -> None:
        """Let what is left of a text wait, before all of its client; it has been paid for."""
        client = self._client(item.client)
        client.tag = max(client.tag - item.cost, self._now)
        client.reads.appendleft(item)

    def head(self, *, reads_only: bool = False) -> Item | None:
        """The item whose turn it is; None: nothing waits that may go.

        Args:
            reads_only: only texts to read may go.
        """
        for client in self._in_turn():
            item = client.head(reads_only=reads_only)
            if item is not None:
                return item
        return None

    def pop(self, item: Item, cost: int) -> None:
        """Take out an item that is the first of its queue; so many tokens are computed for it."""
        client = self._clients[item.client]
        queue = client.reads if isinstance(item, PoolingRequest) else client.writes
        assert queue[0] is item
        queue.popleft()
        self._now = max(self._now, client.tag)
        client.tag += cost

    def charge(self, name: str, cost: int) -> None:
        """So many more tokens have been computed for a client."""
        if client := self._clients.get(name):
            client.tag += max(0, cost)

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
        for client in self._in_turn():
            if client.writes:
                yield client.writes[0]

    def newest(self, name: str) -> Iterator[list[Item]]:
        """Requests of a client of which something waits, the newest first: what waits of each."""
        if client := self._clients.get(name):
            queues = (reversed(client.reads), reversed(client.writes))
            by_age = merge(*queues, key=lambda item: -item.number)
            for _, group in groupby(by_age, key=lambda item: item.group):
                yield list(group)

    def _client(self, name: str) -> _Client:
        client = self._clients.get(name)
        if client is None:
            # Of others that would begin anew nothing need be known.
            known = self._clients.items()
            self._clients = {n: each for n, each in known if not each.idle or each.tag > self._now}
            client = self._clients[name] = _Client(self._now)
        return client

    def _in_turn(self) -> list[_Client]:
        return sorted(self._clients.values(), key=lambda client: client.tag)
