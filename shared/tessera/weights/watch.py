"""The head of a set as it moves, across restarts of the coordinator."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any, Protocol

from tessera import errors
from tessera.api.parameters.v1 import coordinator_pb2 as pb
from tessera.api.parameters.v1 import coordinator_pb2_grpc as pb_grpc
from tessera.rpc.channel import mapped_errors
from tessera.weights import messages
from tessera.weights.manifest import Version

_WORKED_SECONDS = 5.0


class HeadSource(Protocol):
    """A client of the coordinator, with the seconds that one that restarts is waited for."""

    patience: float

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """Of a call that is made now."""

    def stub(self, *, again: bool) -> pb_grpc.CoordinatorServiceStub:
        """A stub; with `again`, of wherever the coordinator listens now."""


class Watch(Iterator[Version]):
    """Iterates over the heads of a set as they move, across restarts of the coordinator.

    Attributes:
        move: number of the move that made the last one the head; it grows with every move.

    Raises, from `next`:
        NotFoundError: there is no such set (reason SET_NOT_FOUND).
        UnavailableError: the coordinator stayed away for longer than the client's patience.
    """

    def __init__(self, coordinator: HeadSource, name: str) -> None:
        self._coordinator = coordinator
        self._request = pb.WatchSetRequest(set=name)
        self._closed = threading.Event()
        self._call: Any = None
        self.move = 0
        self._versions = self._follow()

    def close(self) -> None:
        """End the iteration, from any thread."""
        self._closed.set()
        if self._call is not None:
            self._call.cancel()

    def __next__(self) -> Version:
        return next(self._versions)

    def _follow(self) -> Iterator[Version]:
        seen, again, end = -1, False, 0.0
        while not self._closed.is_set():
            begin = time.monotonic()
            try:
                for version, move in self._stream(again=again):
                    if move > seen:
                        seen = self.move = move
                        yield version
            except (errors.UnavailableError, errors.CancelledError):
                # Patience counts from the failure of a stream that worked, not from its beginning.
                if not end or time.monotonic() - begin > _WORKED_SECONDS:
                    end = time.monotonic() + self._coordinator.patience
                if not self._closed.is_set() and time.monotonic() > end:
                    raise
            again = True
            self._closed.wait(0.5)

    def _stream(self, *, again: bool) -> Iterator[tuple[Version, int]]:
        stub = self._coordinator.stub(again=again)
        with mapped_errors():
            self._call = stub.WatchSet(self._request, metadata=self._coordinator.metadata)
            if self._closed.is_set():
                self._call.cancel()
            for reply in self._call:
                yield messages.version_from_pb(reply.head), reply.sequence
