"""How much of the controller one tenant, and one principal of it, may take. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tessera import errors
from tessera.rpc.platform_limits import TenantLimits

RETRY_SECONDS = 30.0
"""When a quota may have room again: something of the caller's own has to end first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """The most of one thing that may be open at once.

    Args:
        what: it is, in the plural, for people.
        tenant: that one tenant has.
        principal: that one principal of it has.
    """

    what: str
    tenant: int
    principal: int

    def check(self, tenant: str, subject: str, *, of_tenant: int, of_principal: int) -> None:
        """Raise unless there may be one more.

        Args:
            tenant: of the caller.
            subject: the caller.
            of_tenant: how many its tenant has.
            of_principal: how many of those are its own.

        Raises:
            ResourceExhaustedError: there are as many as may be (QUOTA_EXCEEDED).
        """
        if of_principal >= self.principal:
            raise exceeded(self.what, self.principal, f"'{subject}'")
        if of_tenant >= self.tenant:
            raise exceeded(self.what, self.tenant, f"tenant '{tenant}'")


def jobs(limits: TenantLimits) -> Quota:
    """Of jobs that have not ended."""
    return Quota(what="open jobs", tenant=limits.jobs, principal=limits.jobs_of_principal)


def deployments(limits: TenantLimits) -> Quota:
    """Of deployments that are not deleted."""
    return Quota(
        what="deployments", tenant=limits.deployments, principal=limits.deployments_of_principal
    )


def watches(limits: TenantLimits) -> Quota:
    """Of streams of events, logs and metrics."""
    return Quota(what="open watches", tenant=limits.watches, principal=limits.watches_of_principal)


class Open:
    """Counts what is open of a quota, in memory: what ends with the process.

    Args:
        quota: of a tenant.
    """

    def __init__(self, quota: Callable[[str], Quota]) -> None:
        self._quota = quota
        self._counts: Counter[tuple[str, ...]] = Counter()

    @contextmanager
    def one(self, tenant: str, subject: str) -> Iterator[None]:
        """One more, for as long as the context lasts.

        Raises:
            ResourceExhaustedError: there are as many as may be (QUOTA_EXCEEDED).
        """
        keys = (tenant,), (tenant, subject)
        of_tenant, of_principal = (self._counts[key] for key in keys)
        quota = self._quota(tenant)
        quota.check(tenant, subject, of_tenant=of_tenant, of_principal=of_principal)
        self._counts.update(keys)
        try:
            yield
        finally:
            self._counts.subtract(keys)
            # A count of zero says nothing: whoever has gone leaves nothing behind.
            self._counts = +self._counts


def exceeded(what: str, most: int, whose: str) -> errors.ResourceExhaustedError:
    """The refusal of what would be above a quota."""
    return errors.ResourceExhaustedError(
        f"{whose} may have {most} {what} at once; end or wait for some of them",
        reason="QUOTA_EXCEEDED",
        metadata={"quota": what, "limit": str(most)},
        retry_after=RETRY_SECONDS,
    )
