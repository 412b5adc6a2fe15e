"""Messages of a stream, read by another thread, so that waiting for one has an end. No gRPC."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from threading import Semaphore
from typing import Any, TypeVar

from tessera.rpc.limits import idle

T = TypeVar("T")

_END = object()


@contextmanager
def read_requests(
    readers: Executor, sent: Iterator[T], first: float, later: float
) -> Iterator[Iterator[T]]:
    """An iterator over what `sent` gives; the reader is one message ahead, no more.

    A thread that waits in `sent` waits until the call ends, however it ends.

    Args:
        readers: lends a thread.
        sent: messages; blocks.
        first: seconds for the first message.
        later: seconds for each other one.

    Raises:
        DeadlineExceededError: of the iterator, where a message does not come in time (IDLE_STREAM).
    """
    stream = _Stream(sent)
    readers.submit(stream.fill)
    try:
        yield stream.messages(first, later)
    finally:
        stream.close()


class _Stream:
    def __init__(self, sent: Iterator[Any]) -> None:
        self._sent = sent
        self._came: SimpleQueue[Any] = SimpleQueue()
        self._room = Semaphore(0)
        self._closed = False

    def fill(self) -> None:
        """Read until the end, or until nobody wants more."""
        try:
            for message in self._sent:
                self._came.put(message)
                self._room.acquire()
                if self._closed:
                    return
            self._came.put(_END)
        except BaseException as error:  # noqa: BLE001 - it is raised where messages are taken
            self._came.put(_Failed(error))

    def messages(self, first: float, later: float) -> Iterator[Any]:
        seconds = first
        while True:
            try:
                message = self._came.get(timeout=seconds)
            except Empty:
                raise idle(seconds) from None
            if message is _END:
                return
            if isinstance(message, _Failed):
                raise message.error
            self._room.release()
            yield message
            seconds = later

    def close(self) -> None:
        """Nobody wants more."""
        self._closed = True
        self._room.release()


@dataclass(frozen=True, slots=True)
class _Failed:
    error: BaseException
