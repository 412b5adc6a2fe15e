"""How long the RPC that is being served may still take, passed on to the calls that it makes."""

from __future__ import annotations

import contextvars
import time

_deadline: contextvars.ContextVar[float | None] = contextvars.ContextVar("deadline", default=None)


def set_deadline(seconds: float | None) -> contextvars.Token[float | None]:
    """Say that the work of this context must end in `seconds`; None: whenever."""
    return _deadline.set(None if seconds is None else time.monotonic() + seconds)


def remaining(default: float) -> float:
    """Seconds for a call made now: `default`, or what the caller has left if that is less."""
    deadline = _deadline.get()
    if deadline is None:
        return default
    return max(0.0, min(default, deadline - time.monotonic()))
