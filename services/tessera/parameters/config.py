"""Settings of the coordinator and of a shard."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from tessera.parameters.quota import TenantQuota
from tessera.rpc.limits import LIMITS, CallLimits
from tessera.rpc.token import Token

MIB = 1024 * 1024

LOST_SECONDS = 600.0
"""A shard that was away for so long is not waited for: its copies are made again elsewhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceAddress:
    """How a process of the service joins the platform.

    `host` is the address that it listens on and that others reach it by, `actor` the id of its Ray
    actor, if it is one.
    """

    controller: str
    token: Token
    host: str = "127.0.0.1"
    actor: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CoordinatorConfig:
    """The coordinator: its directory, how many shards there are, and the cap in bytes or None.

    `replicas` is how many shards should have each piece of a version, 0: two where there are two
    nodes, else one. A shard that is away for `lost_seconds` does not count any more.
    `quota` is what each tenant may have of it, `calls` what callers may have of its server.
    """

    data_dir: Path
    shards: int = 2
    disk_cap_bytes: int | None = None
    replicas: int = 0
    lost_seconds: float = LOST_SECONDS
    quota: TenantQuota = field(default_factory=TenantQuota)
    calls: CallLimits = LIMITS

    def __post_init__(self) -> None:
        if self.shards < 1:
            raise ValueError("shards must be at least 1")
        if not 0 <= self.replicas <= self.shards:
            raise ValueError(f"replicas must be between 0 and {self.shards}, the number of shards")
        if self.disk_cap_bytes is not None and self.disk_cap_bytes < 1:
            raise ValueError("disk_cap_bytes must be positive")


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardConfig:
    """A shard: its place among the shards, its directory, and its memory for pushes in bytes.

    `scrub_rate` is bytes of it in a second that are read to see whether they are still what was
    written, 0: none; `calls` is what callers may have of its servers. With `lane`, readers of the
    same host get files by descriptor.
    """

    index: int
    data_dir: Path
    pool_bytes: int = 512 * MIB
    warm_bytes: int = 32 * MIB
    scrub_rate: int = 4 * MIB
    calls: CallLimits = LIMITS
    lane: bool = True

    @property
    def name(self) -> str:
        """Name of the shard."""
        return shard_name(self.index)


def shard_name(index: int) -> str:
    """Name of a shard in the registry."""
    return f"shard-{index}"
