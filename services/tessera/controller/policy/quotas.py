"""How much of the controller one tenant, and one principal of it, may take. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tessera import errors

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Quotas:
    """All of a controller's.

    Args:
        jobs: that have not ended.
        deployments: that are not deleted.
        watchers: streams of events, logs and metrics.
        blob_bytes: of the uploaded files of a tenant.
        blob_size: bytes of one uploaded file.
        blob_seconds: after which an uploaded file that nothing uses is dropped.
    """

    jobs: Quota = Quota(what="open jobs", tenant=10_000, principal=5_000)
    deployments: Quota = Quota(what="deployments", tenant=1_000, principal=500)
    watchers: Quota = Quota(what="open watches", tenant=2_000, principal=500)
    blob_bytes: int = 1 << 40
    blob_size: int = 1 << 38
    blob_seconds: float = 30 * 86_400.0


class Open:
    """Counts what is open of a quota, in memory: what ends with the process.

    Args:
        quota: of it.
    """

    def __init__(self, quota: Quota) -> None:
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
        self._quota.check(tenant, subject, of_tenant=of_tenant, of_principal=of_principal)
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
