"""How often: token buckets by name, each a single number. Pure."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from threading import Lock

_SWEEP = 1024
"""Names after which those with a full bucket are forgotten."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """Calls in the long run and at once.

    Args:
        per_second: calls, in the long run.
        burst: calls at once, after a pause; at least 1.
    """

    per_second: float = field(metadata={"least": 0.01, "most": 1_000_000})
    burst: int = field(metadata={"least": 1, "most": 10_000_000})


class Buckets:
    """A token bucket for each of many names, as the generic cell rate algorithm (ITU-T I.371).

    Of a bucket it keeps the time at which it will be full: one that is full needs no memory.

    Args:
        rate: of each.
    """

    def __init__(self, rate: Rate) -> None:
        self._step = 1.0 / rate.per_second
        self._depth = (rate.burst - 1) * self._step
        self._full: dict[Hashable, float] = {}
        self._sweep = _SWEEP

    def __len__(self) -> int:
        return len(self._full)

    def wait(self, name: Hashable, now: float) -> float:
        """Seconds from `now` until the next token; 0: there is one."""
        return max(0.0, self._full.get(name, now) - self._depth - now)

    def take(self, name: Hashable, now: float, count: float = 1) -> None:
        """Take tokens, whether they are there or not: if not, the next one comes so much later."""
        self._full[name] = max(self._full.get(name, now), now) + count * self._step
        if len(self._full) > self._sweep:
            self._full = {name: full for name, full in self._full.items() if full > now}
            self._sweep = max(_SWEEP, 2 * len(self._full))


class RateLimiter:
    """A rate for each principal and one for each tenant. Thread-safe.

    Args:
        principal: rate of each principal.
        tenant: rate of each tenant.
    """

    def __init__(self, principal: Rate, tenant: Rate) -> None:
        self._principals = Buckets(principal)
        self._tenants = Buckets(tenant)
        self._lock = Lock()

    def take(self, tenant: str, subject: str, now: float) -> float:
        """Seconds until the principal may call; 0: it may, and a token of each is taken.

        Args:
            tenant: its tenant.
            subject: its name.
            now: monotonic time in seconds.
        """
        with self._lock:
            if not (wait := self._wait(tenant, subject, now)):
                self._take(tenant, subject, now, 1)
            return wait

    def wait(self, tenant: str, subject: str, now: float) -> float:
        """Seconds until the principal may call; nothing is taken."""
        with self._lock:
            return self._wait(tenant, subject, now)

    def count(self, tenant: str, subject: str, now: float, count: float) -> None:
        """Take tokens for what is known only when it is done; the next one may wait for them."""
        with self._lock:
            self._take(tenant, subject, now, count)

    def _wait(self, tenant: str, subject: str, now: float) -> float:
        principal = self._principals.wait((tenant, subject), now)
        return max(principal, self._tenants.wait(tenant, now))

    def _take(self, tenant: str, subject: str, now: float, count: float) -> None:
        self._principals.take((tenant, subject), now, count)
        self._tenants.take(tenant, now, count)
