"""Who did what to what, for calls that change something. Pure."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from tessera.rpc.principal import Principal
from tessera.rpc.rate import Buckets, Rate

READS = ("Get", "List", "Watch", "Stream", "Stat", "Resolve")
"""What methods that change nothing begin with."""

NAMES = ("name", "id", "set", "subject", "spec.name", "pool.name")
"""Fields that say what a request is about; the first that is there is taken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """One thing that somebody did, or was refused.

    Args:
        time: seconds since the epoch.
        subject: who.
        role: as what.
        tenant: in which.
        method: what, without package and service.
        resource: to what, as the request names it; empty: it names nothing, or was not read.
        outcome: `OK`, or the reason of the refusal.
    """

    time: float
    subject: str
    role: str
    tenant: str
    method: str
    resource: str
    outcome: str


QUIET = ("PutBlob", "IssueCertificate")
"""Methods that change something that nobody asks after."""

Audit = Callable[[AuditEntry], Awaitable[None]]


REFUSALS = Rate(per_second=1 / 60, burst=20)
"""Of refusals of one kind to one principal that are kept: more say nothing new, and fill a disk."""


class Refusals:
    """Which refusals are kept; belongs to one event loop.

    Args:
        clock: monotonic time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._kinds = Buckets(REFUSALS)

    def kept(self, caller: Principal, method: str, outcome: str) -> bool:
        """Whether one more of its kind is kept."""
        kind, now = (caller.tenant, caller.subject, method, outcome), self._clock()
        if self._kinds.wait(kind, now):
            return False
        self._kinds.take(kind, now)
        return True


def changes(method: str) -> bool:
    """Whether a call of a method is kept, by its name."""
    return not method.rpartition("/")[2].startswith((*READS, *QUIET))


def entry_of(caller: Principal, method: str, request: Any, outcome: str) -> AuditEntry:
    """What is kept of a call.

    Args:
        caller: who called.
        method: `/package.Service/Method`.
        request: parsed; None: it was not read.
        outcome: `OK`, or the reason.
    """
    return AuditEntry(
        time=time.time(),
        subject=caller.subject[:255],
        role=caller.role.value,
        tenant=caller.tenant,
        method=method.rpartition("/")[2],
        resource=_named(request)[:255],
        outcome=outcome[:64],
    )


def _named(request: Any) -> str:
    for path in NAMES:
        value = request
        for part in path.split("."):
            value = getattr(value, part, None)
        if isinstance(value, str) and value:
            return value
    return ""
