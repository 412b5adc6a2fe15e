"""Ends streams of a threaded server whose readers take nothing.

A thread that writes waits in gRPC until there is room, and nothing there has an end. So another
thread looks at all of them and cancels the call from outside, with a status: that needs no room.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

import grpc
import structlog

log = structlog.get_logger()

T = TypeVar("T")

_LOOKS = 4
"""In the time that a reader has."""


def stalled(seconds: float) -> str:
    """What a reader is told that takes nothing."""
    return f"nothing was taken for {seconds:g} seconds"


class Stalls:
    """Looks after streams.

    Args:
        seconds: that one message may wait for its reader.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._since: dict[Any, float] = {}
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def watch(self, responses: Iterable[T], context: Any) -> Iterator[T]:
        """The same messages; the call ends if its reader leaves one of them where it is."""
        for response in responses:
            self._begin(context)
            try:
                yield response
            finally:
                with self._lock:
                    self._since.pop(context, None)

    def stop(self) -> None:
        """Look no more."""
        self._ended.set()

    def _begin(self, context: Any) -> None:
        with self._lock:
            self._since[context] = time.monotonic()
            if self._thread is None:
                self._thread = threading.Thread(target=self._look, name="stalls", daemon=True)
                self._thread.start()

    def _look(self) -> None:
        while not self._ended.wait(self._seconds / _LOOKS):
            late = time.monotonic() - self._seconds
            with self._lock:
                gone = [context for context, since in self._since.items() if since < late]
                for context in gone:
                    del self._since[context]
            for context in gone:
                log.info("rpc", code="DEADLINE_EXCEEDED", reason="IDLE_STREAM")
                _cancel(context, grpc.StatusCode.DEADLINE_EXCEEDED, stalled(self._seconds))


def _cancel(context: Any, code: grpc.StatusCode, message: str) -> None:
    # `context.cancel()` does the same, but the reader hears CANCELLED, as if it had done it itself.
    context._rpc_event.call.cancel(code.value[0], message.encode())  # noqa: SLF001
