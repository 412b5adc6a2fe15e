"""Calls that are under way: begun whole, and cancelled when nobody waits for them any more."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

C = TypeVar("C")


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
