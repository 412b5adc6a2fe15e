"""How much anybody may have of a platform: what its operator may set, with today's values. Pure.

`tessera up --limits FILE` reads it; processes are told what they need of it when they start.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from tessera import errors
from tessera.rpc.limits import CallLimits
from tessera.rpc.principal import TENANT

GIB = 1 << 30
TIB = 1 << 40
DAY = 86_400.0

_COUNT = {"least": 1, "most": 10_000_000}
_BYTES = {"least": 1, "most": 1 << 60}
_KEPT = {"least": 60, "most": 3650 * DAY}


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightLimits:
    """What one tenant may have of the parameter service.

    Args:
        bytes: of all its versions, those that are open counted as they were declared; none: what
            the disk cap allows.
        sets: that it has made. Each is a row or two; a job that names none makes one.
        versions: committed ones that are held, of all its sets together: every look at what may go
            reads all of them.
        open_versions: that are written now. A set has one at a time.
        pins: that have not run out; a replica has one or two.
        watchers: calls of WatchSet at once; a replica has one.
    """

    bytes: int | None = field(default=None, metadata=_BYTES)
    sets: int = field(default=20_000, metadata=_COUNT)
    versions: int = field(default=50_000, metadata=_COUNT)
    open_versions: int = field(default=1_000, metadata=_COUNT)
    pins: int = field(default=10_000, metadata=_COUNT)
    watchers: int = field(default=2_000, metadata=_COUNT)


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantLimits:
    """What one tenant may have.

    Args:
        jobs: that have not ended.
        jobs_of_principal: of those, that one principal has.
        deployments: that are not deleted.
        deployments_of_principal: of those, that one principal has.
        watches: streams of events, logs and metrics.
        watches_of_principal: of those, that one principal has.
        blob_bytes: of all its uploaded files.
        weights: what it may have of the parameter service.
    """

    jobs: int = field(default=10_000, metadata=_COUNT)
    jobs_of_principal: int = field(default=5_000, metadata=_COUNT)
    deployments: int = field(default=1_000, metadata=_COUNT)
    deployments_of_principal: int = field(default=500, metadata=_COUNT)
    watches: int = field(default=2_000, metadata=_COUNT)
    watches_of_principal: int = field(default=500, metadata=_COUNT)
    blob_bytes: int = field(default=TIB, metadata=_BYTES)
    weights: WeightLimits = field(default_factory=WeightLimits)


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadLimits:
    """Of uploaded files, whosever they are.

    Args:
        bytes: of one file.
        unused_seconds: after which one that nothing uses is dropped.
    """

    bytes: int = field(default=256 * GIB, metadata=_BYTES)
    unused_seconds: float = field(default=30 * DAY, metadata={"least": 3600, "most": 3650 * DAY})


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionLimits:
    """How long what is kept of ended jobs stays; all in seconds after the end of the job.

    Args:
        jobs_seconds: the job itself, with all that is kept of it.
        events_seconds: its history.
        metrics_seconds: the points of its curves.
        logs_seconds: its log files.
    """

    jobs_seconds: float = field(default=90 * DAY, metadata=_KEPT)
    events_seconds: float = field(default=90 * DAY, metadata=_KEPT)
    metrics_seconds: float = field(default=90 * DAY, metadata=_KEPT)
    logs_seconds: float = field(default=30 * DAY, metadata=_KEPT)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformLimits:
    """All that an operator may set.

    Args:
        servers: of each server: controller, coordinator, shard, replica, driver.
        uploads: of uploaded files.
        retention: of ended jobs.
        tenant: of each tenant.
        tenants: of a tenant by its name; what is not said there is as `tenant` has it.
    """

    servers: CallLimits = field(default_factory=CallLimits)
    uploads: UploadLimits = field(default_factory=UploadLimits)
    retention: RetentionLimits = field(default_factory=RetentionLimits)
    tenant: TenantLimits = field(default_factory=TenantLimits)
    tenants: Mapping[str, TenantLimits] = field(
        default_factory=dict, metadata={"based_on": "tenant", "most": 200}
    )

    def __post_init__(self) -> None:
        for name in self.tenants:
            if not re.fullmatch(TENANT, name):
                raise errors.InvalidArgumentError.at(
                    f"tenants[{name}]", "is no name of a tenant: a-z, 0-9, `-`", "INVALID_FIELD"
                )

    def of(self, tenant: str) -> TenantLimits:
        """What a tenant may have."""
        return self.tenants.get(tenant, self.tenant)
