"""What a controller is told when it starts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import URL

from tessera.controller.policy.records import Pool
from tessera.rpc.address import split
from tessera.rpc.platform_limits import PlatformLimits
from tessera.rpc.policy.oidc import OidcConfig
from tessera.spec.configuration import NOTHING, dump

_POOL_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """One controller.

    Args:
        host: address to listen on.
        port: port to listen on; 0: any free one.
        home: folder of everything durable.
        advertise: `host:port` that workloads call; empty: what it listens on.
        database: SQLAlchemy URL; empty: SQLite in the home.
        pools: Ray clusters known from the start.
        shards: number of parameter shards; 0: no parameter service is kept.
        disk_cap: bytes that the parameter service may use; 0: no cap.
        parameter_replicas: shards that have each piece of a version; 0: two where there are two
            nodes, else one.
        ray_token: file of Ray's token for `pools`; None: they ask for none.
        secrets: variables of the environment that pools may name as their token.
        tls: whether connections are encrypted.
        tls_dir: folder with the controller's certificate, which others renew; None: one is made.
        python: interpreter that the pools run our entry points with.
        limits: how much anybody may have.
        oidc: issuers whose tokens may be exchanged; None: none.
    """

    host: str
    port: int
    home: Path
    advertise: str = ""
    database: str = ""
    pools: tuple[Pool, ...] = field(default=())
    shards: int = 2
    disk_cap: int = 0
    parameter_replicas: int = 0
    ray_token: Path | None = None
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    tls: bool = False
    tls_dir: Path | None = None
    python: str = "python"
    limits: PlatformLimits = field(default_factory=PlatformLimits)
    oidc: OidcConfig | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:  # noqa: PLR2004 - the range of ports
            raise ValueError(f"--listen: {self.port} is no port")
        if self.shards < 0 or self.disk_cap < 0:
            raise ValueError("--shards and --disk-cap-bytes must not be negative")
        if not 0 <= self.parameter_replicas <= self.shards:
            raise ValueError("--parameter-replicas must be between 0 and the number of shards")
        if self.advertise:
            split(self.advertise)

    @property
    def hosts(self) -> list[str]:
        """What it is called at."""
        return [self.host, *([split(self.advertise)[0]] if self.advertise else [])]

    @property
    def database_url(self) -> str | URL:
        """Where the store is."""
        # Not as text: in a URL some letters of a folder's name would mean something.
        file = str(self.home.resolve() / "controller.db")
        return self.database or URL.create("sqlite", database=file)

    @property
    def calls_argument(self) -> tuple[str, ...]:
        """What a process that the controller starts is told of the limits, for its servers."""
        return _argument(PlatformLimits(servers=self.limits.servers))

    @property
    def weights_argument(self) -> tuple[str, ...]:
        """What the parameter service is told of the limits."""
        return _argument(self.limits)


def _argument(limits: PlatformLimits) -> tuple[str, ...]:
    text = dump(limits)
    return () if text == NOTHING else ("--limits", text)


def parse_listen(text: str) -> tuple[str, int]:
    """Host and port of `HOST:PORT`; raises ValueError."""
    return split(text)


def parse_pool(text: str) -> Pool:
    """A pool of `NAME,DASHBOARD_URL,GCS_ADDRESS`; raises ValueError."""
    name, _, rest = text.partition(",")
    url, _, address = rest.partition(",")
    if not _POOL_NAME.fullmatch(name) or not url.startswith("http") or ":" not in address:
        raise ValueError(f"'{text}' is not NAME,DASHBOARD_URL,GCS_ADDRESS")
    return Pool(name=name, dashboard_url=url, ray_address=address)
