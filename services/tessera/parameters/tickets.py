"""Tickets for what was authorised: random, good once, and for seconds."""

from __future__ import annotations

import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock

from tessera import errors
from tessera.rpc.shares import Shares
from tessera.weights.descriptors import TICKET_BYTES

MOST = 256
"""Tickets that nobody has used yet; of one set a third of them at most, of a tenant a half."""

SECONDS = 5.0
"""That a ticket is good for: whoever asked is about to connect."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Pieces of a version; without any: that a writer of the set may hand over memory."""

    set: str
    version: int = 0
    pieces: tuple[str, ...] = ()


class Tickets:
    """Tickets of one shard. Thread-safe.

    Args:
        most: that are out at once.
        seconds: that each is good for.
        clock: monotonic time in seconds.
    """

    def __init__(
        self,
        most: int = MOST,
        seconds: float = SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._seconds = seconds
        self._clock = clock
        self._shares = Shares(most)
        self._lock = Lock()
        self._out: OrderedDict[bytes, tuple[float, Asked]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._out)

    def issue(self, asked: Asked) -> bytes:
        """A ticket.

        Raises:
            ResourceExhaustedError: too many are out (TOO_MANY_TICKETS).
        """
        with self._lock:
            self._forget()
            if not self._shares.take(asked.set.partition("/")[0], asked.set):
                raise errors.ResourceExhaustedError(
                    f"as many tickets for {asked.set} are out as there can be",
                    reason="TOO_MANY_TICKETS",
                    retry_after=self._seconds,
                )
            ticket = secrets.token_bytes(TICKET_BYTES)
            self._out[ticket] = (self._clock() + self._seconds, asked)
            return ticket

    def redeem(self, ticket: bytes) -> Asked | None:
        """What a ticket is good for, once; None: nothing."""
        with self._lock:
            self._forget()
            _, asked = self._out.pop(ticket, (0.0, None))
            if asked is not None:
                self._give(asked)
            return asked

    def _forget(self) -> None:
        """Those whose time is over: the oldest come first."""
        now = self._clock()
        while self._out:
            ticket, (until, asked) = next(iter(self._out.items()))
            if until > now:
                return
            del self._out[ticket]
            self._give(asked)

    def _give(self, asked: Asked) -> None:
        self._shares.give(asked.set.partition("/")[0], asked.set)
