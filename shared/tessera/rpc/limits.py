"""Limits of a server's callers: calls under way, and how often what stays is made. Pure."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tessera import errors
from tessera.rpc.policy.cost import MAKES, MessageLimits
from tessera.rpc.principal import PLATFORM, Principal, Role
from tessera.rpc.rate import Rate, RateLimiter
from tessera.rpc.shares import Shares

CALLS = 4096
"""Calls under way at an asyncio server: a tenant alone gets 2,048 of them, a principal 1,365.

A stream that waits costs some 25 KiB, so that all of them cost 100 MiB.
"""

STREAMS = 96
"""Bulk streams at a shard: a tenant alone gets 48 of them, a principal 32; each costs two threads
that mostly wait."""

ANONYMOUS_BYTES = 256 * 1024 * 1024
"""Of requests without a token that may be on their way at once, if all are as large as can be."""

PRINCIPAL_RATE = Rate(per_second=500.0, burst=2_000)
"""Of calls that make something: more than one controller accepts in the long run (300/s)."""

TENANT_RATE = Rate(per_second=1_000.0, burst=4_000)

_SECONDS = {"least": 0.1, "most": 86_400}

BUSY_SECONDS = 1.0
"""When to try again where there was no place; how long other calls take is not known."""

DOOR = frozenset({"TOO_MANY_CALLS", "RATE_LIMITED"})
"""Reasons of refusals at the door: nothing was done, and another try makes sense."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallLimits:
    """What a server lets its callers have.

    Args:
        calls: under way at once, of all callers. A tenant alone gets half of what is free, a
            principal a third (`tessera.rpc.shares`).
        streams: of bulk data that run at once, shared in the same way.
        principal: rate of each principal's calls that make something.
        tenant: rate of each tenant's.
        anonymous_seconds: for a request to arrive whole, of a caller without a token.
        request_seconds: for one to arrive, of a caller with a token.
        idle_seconds: between two messages of a stream that sends several.
        messages: bytes of one.
    """

    calls: int = field(default=CALLS, metadata={"least": 16, "most": 65_536})
    streams: int = field(default=STREAMS, metadata={"least": 4, "most": 1_024})
    principal: Rate = field(default_factory=lambda: PRINCIPAL_RATE)
    tenant: Rate = field(default_factory=lambda: TENANT_RATE)
    anonymous_seconds: float = field(default=5.0, metadata=_SECONDS)
    request_seconds: float = field(default=60.0, metadata=_SECONDS)
    idle_seconds: float = field(default=30.0, metadata=_SECONDS)
    messages: MessageLimits = field(default_factory=MessageLimits)

    def patience(self, caller: Principal) -> float:
        """Seconds for the first request of a caller to arrive."""
        anonymous = caller.role is Role.ANONYMOUS
        return self.anonymous_seconds if anonymous else self.request_seconds


LIMITS = CallLimits()


class CallLimiter:
    """Holds the callers of one server to its limits. Thread-safe.

    Args:
        limits: of the server.
        largest: bytes of the largest message that gRPC takes for it.
        clock: monotonic time in seconds.
    """

    def __init__(
        self, limits: CallLimits, largest: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.limits = limits
        # gRPC has one limit for all methods, so that a health check may be as large as a version.
        self._anonymous = Shares(min(64, max(4, ANONYMOUS_BYTES // largest)))
        self._clock = clock
        self._shares = Shares(limits.calls)
        self._rates = RateLimiter(limits.principal, limits.tenant)

    @contextmanager
    def under_way(self, method: str, caller: Principal, peer: Callable[[], str]) -> Iterator[None]:
        """A call, for as long as the block runs. The platform's own workloads are not limited.

        Args:
            method: `/package.Service/Method`.
            caller: who calls.
            peer: says where from, as gRPC does: callers without a token are told apart by host.

        Raises:
            ResourceExhaustedError: it or its tenant has too many under way (TOO_MANY_CALLS), or
                makes things too fast (RATE_LIMITED).
        """
        if caller.role in PLATFORM:
            yield
            return
        shares, tenant, subject = self._shares, caller.tenant, caller.subject
        if caller.role is Role.ANONYMOUS:
            shares, tenant = self._anonymous, method.split("/")[1]
            subject = peer().rpartition(":")[0]
        if not shares.take(tenant, subject):
            raise errors.ResourceExhaustedError(
                f"{caller} or its tenant has as many calls under way as this server has room for",
                reason="TOO_MANY_CALLS",
                retry_after=BUSY_SECONDS,
            )
        try:
            if method in MAKES and (wait := self._rates.take(tenant, subject, self._clock())):
                raise errors.ResourceExhaustedError(
                    f"{caller} or its tenant calls {method.rpartition('/')[2]} too often",
                    reason="RATE_LIMITED",
                    retry_after=wait,
                )
            yield
        finally:
            shares.give(tenant, subject)


def check_size(limits: MessageLimits, method: str, raw: bytes) -> None:
    """Raise unless a message is one that the method takes.

    Raises:
        ResourceExhaustedError: it is larger (MESSAGE_TOO_LARGE).
    """
    if len(raw) > (most := limits.of(method)):
        raise errors.ResourceExhaustedError(
            f"a message of {method.rpartition('/')[2]} has at most {most:,} bytes, this one has"
            f" {len(raw):,}",
            reason="MESSAGE_TOO_LARGE",
            metadata={"size": str(len(raw)), "limit": str(most)},
        )


def refused_at_door(error: errors.TesseraError) -> bool:
    """Whether a server only had no room for the call: nothing was done, it may be made again."""
    return error.reason in DOOR


def idle(seconds: float) -> errors.DeadlineExceededError:
    """The error of a caller that sends nothing."""
    return errors.DeadlineExceededError(
        f"nothing came for {seconds:g} seconds", reason="IDLE_STREAM"
    )
