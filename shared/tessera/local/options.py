"""What `tessera up` was asked for."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from tessera import errors


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Settings of a local platform.

    `cpus` are logical: what Ray hands out, not the machine's cores. `ray_address` (host:port) and
    `dashboard` (URL) name a cluster to attach to; empty: one is started. `ray_token_path` is that
    cluster's token. `disk_cap` bounds the parameters' bytes on disk; 0: no bound.
    """

    cpus: int
    shards: int = 2
    disk_cap: int = 0
    ray_address: str = ""
    dashboard: str = ""
    ray_token_path: str = ""

    def __post_init__(self) -> None:
        if self.cpus < 1:
            raise errors.InvalidArgumentError("--cpus: at least 1", reason="INVALID_FIELD")
        if self.shards < 1:
            raise errors.InvalidArgumentError("--shards: at least 1", reason="INVALID_FIELD")
        if self.disk_cap < 0:
            raise errors.InvalidArgumentError("--disk-cap: not negative", reason="INVALID_FIELD")
        if bool(self.ray_address) != bool(self.dashboard):
            raise errors.InvalidArgumentError(
                "--ray-address and --dashboard go together: the cluster's address for drivers "
                "(host:port) and its dashboard's URL",
                reason="INVALID_FIELD",
            )

    def to_json(self) -> str:
        """For the supervisor's command line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Options:
        """The reverse of `to_json`."""
        return cls(**json.loads(text))
