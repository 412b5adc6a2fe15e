"""Places that are waited for, where `tessera.rpc.shares` refuses. No gRPC."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque

from tessera.rpc.shares import Shares

_Name = tuple[str, str]


class Turns:
    """Places, given to those that wait for one in turn; belongs to one event loop.

    Nobody has more than `Shares` says, and whoever has less than others waits for none of theirs.

    Args:
        capacity: places.
    """

    def __init__(self, capacity: int) -> None:
        self._shares = Shares(capacity)
        self._waiting: OrderedDict[_Name, deque[asyncio.Future[None]]] = OrderedDict()

    @property
    def taken(self) -> int:
        """Places that are taken."""
        return self._shares.taken

    async def take(self, tenant: str, subject: str) -> None:
        """Take a place for a principal, when it is its turn."""
        name = tenant, subject
        if name not in self._waiting and self._shares.take(*name):
            return
        mine = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(name, deque()).append(mine)
        try:
            await mine
        except asyncio.CancelledError:
            if mine.done() and not mine.cancelled():  # Its turn had come in the same moment.
                self.give(*name)
            raise

    def give(self, tenant: str, subject: str) -> None:
        """Give a place back."""
        self._shares.give(tenant, subject)
        for name in list(self._waiting):
            queue = self._waiting[name]
            while queue and queue[0].done():  # Whoever waited has gone.
                queue.popleft()
            if queue and self._shares.take(*name):
                queue.popleft().set_result(None)
                self._waiting.move_to_end(name)
            if not queue:
                del self._waiting[name]
