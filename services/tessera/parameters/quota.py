"""What one tenant may have of the parameter service. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tessera import errors
from tessera.rpc.platform_limits import PlatformLimits, WeightLimits

RETRY_SECONDS = 30.0
"""When asking again makes sense: versions end, pins run out, watchers leave within minutes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantQuota:
    """Limits of tenants.

    Args:
        each: of every tenant that is not in `tenants`.
        tenants: of some, by their names.
    """

    each: WeightLimits = field(default_factory=WeightLimits)
    tenants: Mapping[str, WeightLimits] = field(default_factory=dict)

    @staticmethod
    def of_platform(limits: PlatformLimits) -> TenantQuota:
        """What an operator has set of it."""
        tenants = {name: one.weights for name, one in limits.tenants.items()}
        return TenantQuota(each=limits.tenant.weights, tenants=tenants)

    def of(self, tenant: str) -> WeightLimits:
        """What a tenant may have."""
        return self.tenants.get(tenant, self.each)

    def check(self, what: str, tenant: str, used: int) -> None:
        """Raise unless a tenant that has so many of something may have one more.

        Args:
            what: a field of `WeightLimits`.
            tenant: its name.
            used: how many it has.

        Raises:
            ResourceExhaustedError: it may not (QUOTA_EXCEEDED).
        """
        limit = getattr(self.of(tenant), what)
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
