"""Calls that are under way: begun whole, and cancelled when nobody waits for them any more."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from tessera import errors

C = TypeVar("C")


class Calls:
    """Calls that several threads may have under way, and that are ended together. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: list[Any] = []
        self._ended = threading.Event()

    @property
    def ended(self) -> bool:
        """Whether nobody waits for them any more."""
        return self._ended.is_set()

    @contextmanager
    def under_way(self, begin: Callable[[], C]) -> Iterator[C]:
        """One of them, as the function `under_way` has it."""
        with under_way(begin) as call:
            with self._lock:
                self._running.append(call)
            try:
                if self.ended:
                    self.end()
                yield call
            finally:
                with self._lock:
                    self._running.remove(call)

    def pause(self, seconds: float) -> None:
        """Wait between two of them; raise CancelledError once they are ended."""
        if self._ended.wait(seconds):
            raise errors.CancelledError("nobody waits for the answer any more")

    def end(self) -> None:
        """Cancel those that run, and those to come."""
        self._ended.set()
        with self._lock:
            running = list(self._running)
        for call in running:
            call.cancel()


@contextmanager
def under_way(begin: Callable[[], C]) -> Iterator[C]:
    """A call that ends with the block, whether it has its answer or not.

    Args:
        begin: starts the call: a stream, or the `future` of a unary method.
    """
    call: Any = None
    try:
        with _uninterrupted():
            call = begin()
        yield call
    finally:
        if call is not None:
            call.cancel()


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Ctrl-C waits for the end of the block.

    gRPC sends a call before it starts the thread that receives the answer. An exception between
    the two leaves a channel whose `close` waits for ever.
    """
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield
        return
    came: list[Any] = []
    signal.signal(signal.SIGINT, lambda *how: came.append(how))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if came:
            before(*came[-1])
