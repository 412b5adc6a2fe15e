"""What has been let in and waits for its turn, and who gives way where too much waits. Pure."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Collection, Iterator

from tessera.inference.engine.fair_queue import FairQueue
from tessera.inference.engine.plan import Item, Limits
from tessera.inference.engine.sequence import Sequence


class Backlog:
    """Items that wait, and the requests that they are parts of.

    Args:
        limits: bounds.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._queue = FairQueue()
        # They have been in, and keep what an encoder has read for them: they come before all.
        self._returning: deque[Sequence] = deque()
        self._groups: Counter[int] = Counter()
        self._requests: Counter[str] = Counter()
        self._tokens: Counter[str] = Counter()

    def __iter__(self) -> Iterator[Item]:
        yield from self._returning
        yield from self._queue

    @property
    def requests(self) -> int:
        """Requests that are in, whether they wait or run."""
        return len(self._groups)

    @property
    def tokens(self) -> int:
        """Tokens that wait."""
        return self._tokens.total()

    def add(self, items: Collection[Item]) -> list[Item] | None:
        """Let the items of one request wait.

        Where too much waits, the newest request of whoever has most gives way, if that is more than
        its client would have: so one client may have all room that there is, and yet keep nobody
        out.

        Returns:
            An item of each request that has to be taken out for it; None: there is no room.
        """
        client = next((item.client for item in items), "")
        cost = sum(item.cost for item in items)
        leaving = self._give_way(client, cost)
        if leaving is None:
            return None
        for item in items:
            if not self._groups[item.group]:
                self._requests[client] += 1
            self._groups[item.group] += 1
            self._queue.append(item)
        self._tokens[client] += cost
        return leaving

    def put_back(self, item: Item) -> None:
        """Let a sequence wait again that ran, or what is left of a text that was read in part."""
        if isinstance(item, Sequence):
            self._returning.appendleft(item)
        else:
            self._queue.put_back(item)
        self._tokens[item.client] += item.cost

    def head(self, *, reads_only: bool) -> Item | None:
        """The item whose turn it is."""
        if self._returning and not reads_only:
            return self._returning[0]
        return self._queue.head(reads_only=reads_only)

    def writers(self) -> Iterator[Item]:
        """Of each client the first sequence that has not run yet."""
        return self._queue.writers()

    def pop(self, item: Item, cost: int) -> None:
        """Take out the head, or one of the writers.

        Args:
            item: it.
            cost: of it as it waited.
        """
        if self._returning and self._returning[0] is item:
            self._returning.popleft()
        else:
            self._queue.pop(item, cost)
        self._take_tokens(item.client, cost)

    def charge(self, client: str, cost: int) -> None:
        """What was computed for a client took as long as so many more tokens."""
        self._queue.charge(client, cost)

    def remove(self, numbers: Collection[int]) -> list[Item]:
        """Take out items by their numbers; returns those that waited."""
        back = [sequence for sequence in self._returning if sequence.number in numbers]
        for sequence in back:
            self._returning.remove(sequence)
        gone = [*back, *self._queue.remove(numbers)]
        for item in gone:
            self._take_tokens(item.client, item.cost)
        return gone

    def end(self, item: Item) -> bool:
        """An item is over, wherever it was; whether its request is."""
        self._groups[item.group] -= 1
        if self._groups[item.group]:
            return False
        del self._groups[item.group]
        self._requests[item.client] -= 1
        if not self._requests[item.client]:
            del self._requests[item.client]
        return True

    def _give_way(self, client: str, cost: int) -> list[Item] | None:
        """What `add` returns for a request of this client and cost."""
        limits = self._limits
        excess = self.requests + 1 - limits.max_batch - limits.max_waiting
        # One request may always wait, however long it is.
        surplus = self.tokens + cost - limits.max_waiting_tokens if self.tokens else 0
        requests, tokens = self._requests.copy(), self._tokens.copy()
        newest: dict[str, Iterator[list[Item]]] = {}
        leaving: list[Item] = []
        while excess > 0 or surplus > 0:
            has, wanted = (requests, 1) if excess > 0 else (tokens, cost)
            most = max(has, key=lambda name: has[name])
            if has[most] <= has[client] + wanted:
                return None
            group = next(newest.setdefault(most, self._queue.newest(most)), None)
            if group is None:
                return None
            taken = sum(item.cost for item in group)
            leaving.append(group[0])
            requests[most] -= 1
            tokens[most] -= taken
            excess, surplus = excess - 1, surplus - taken
        return leaving

    def _take_tokens(self, client: str, cost: int) -> None:
        self._tokens[client] -= cost
        if not self._tokens[client]:
            del self._tokens[client]
