"""What one tenant may have of the parameter service. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from tessera import errors

RETRY_SECONDS = 30.0
"""When asking again makes sense: versions end, pins run out, watchers leave within minutes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantQuota:
    """Limits of each tenant.

    Args:
        bytes: of all its versions, those that are open counted as they were declared; None: what
            the disk cap allows.
        sets: that it has made. Each is a row or two; a job that names none makes one.
        versions: committed ones that are held, of all its sets together: every look at what may
            go reads all of them.
        open_versions: that are written now. A set has one at a time.
        pins: that have not run out; a replica has one or two.
        watchers: calls of WatchSet at once; a replica has one.
    """

    bytes: int | None = None
    sets: int = 20_000
    versions: int = 50_000
    open_versions: int = 1_000
    pins: int = 10_000
    watchers: int = 2_000

    def check(self, what: str, tenant: str, used: int) -> None:
        """Raise unless a tenant that has so many of something may have one more.

        Raises:
            ResourceExhaustedError: it may not (QUOTA_EXCEEDED).
        """
        limit = getattr(self, what)
        if used >= limit:
            raise exceeded(what, tenant, used, limit)


DEFAULT = TenantQuota()


def exceeded(what: str, tenant: str, used: int, limit: int) -> errors.ResourceExhaustedError:
    """The refusal of more than a tenant may have."""
    return errors.ResourceExhaustedError(
        f"tenant {tenant!r} would have more {what.replace('_', ' ')} than its quota of {limit}"
        f" allows: it has {used}; give some back, or ask the operator for more",
        reason="QUOTA_EXCEEDED",
        retry_after=RETRY_SECONDS,
        metadata={"quota": what, "used": str(used), "limit": str(limit)},
    )


def names_of(tenant: str) -> tuple[str, str]:
    """Two texts that the names of a tenant's sets, and no others, lie between."""
    return f"{tenant}/", f"{tenant}{chr(ord('/') + 1)}"


def tenant_of(name: str) -> str:
    """The tenant of a set, `tenant/set`."""
    return name.partition("/")[0]
