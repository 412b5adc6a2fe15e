"""Which of the shards that have a slice is asked for it, and when another one is asked instead."""

from __future__ import annotations

import math
import threading
import time
from collections import defaultdict
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

from tessera.weights.manifest import Manifest
from tessera.weights.transfer_table import TransferTable

STILL_SECONDS = 1.0
"""Without a message for so long, a stream is given up where another shard has the same slices."""

AWAY_SECONDS = 10.0
"""After a failure a shard is asked last for so long."""


def by_holder(
    manifest: Manifest,
    transfers: TransferTable,
    *,
    away: Collection[str] = (),
    only: bool = False,
) -> dict[str, TransferTable]:
    """Transfers by the first shard that has their slice, each shard's in the order given.

    Args:
        manifest: of the version.
        transfers: to deal out.
        away: shards to ask only where there is no other.
        only: not even then: what only those have comes under an empty name.
    """
    places: dict[str, list[int]] = defaultdict(list)
    for number, place in transfers.places.items():
        holders = manifest.holders(*place)
        last = "" if only else holders[0]
        places[next((shard for shard in holders if shard not in away), last)].append(number)
    return {shard: transfers.at(numbers) for shard, numbers in places.items()}


class AwayShards:
    """Shards that failed lately, for all readers of a process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._until: dict[str, float] = {}

    def add(self, shard: str) -> None:
        """A shard did not answer."""
        with self._lock:
            self._until[shard] = time.monotonic() + AWAY_SECONDS

    def now(self) -> frozenset[str]:
        """Those that are asked last."""
        now = time.monotonic()
        with self._lock:
            self._until = {shard: end for shard, end in self._until.items() if end > now}
            return frozenset(self._until)


AWAY = AwayShards()


class WatchedStream:
    """A stream of messages that is cancelled where none comes for some seconds.

    Args:
        seconds: between two messages.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._call: Any = None
        self._last = time.monotonic()
        self._done = threading.Event()

    def messages(self, call: Any) -> Iterator[Any]:
        """The messages of a call."""
        self._call, self._last = call, time.monotonic()
        for message in call:
            self._last = math.inf  # What the reader does with it does not count.
            yield message
            self._last = time.monotonic()

    def look(self) -> None:
        """Until `end`: cancel the call when it stands still."""
        while not self._done.wait(self._seconds / 4):
            if self._call is not None and time.monotonic() - self._last > self._seconds:
                self._call.cancel()

    def end(self) -> None:
        """Look no more."""
        self._done.set()


@contextmanager
def standing_still(seconds: float) -> Iterator[WatchedStream]:
    """Give up what stands still inside the block."""
    watched = WatchedStream(seconds)
    looking = threading.Thread(target=watched.look, name="watch", daemon=True)
    looking.start()
    try:
        yield watched
    finally:
        watched.end()
        looking.join()
