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
    cluster's token. `parameter_replicas` is how many shards have each piece of a version, 0: two
    where there are two nodes, else one. `disk_cap` bounds the parameters' bytes on disk; 0: no
    bound. `prometheus` and `grafana` are URLs that Ray's dashboard takes its charts from,
    `grafana_iframe` is Grafana's for the browser, where it is another one; empty: the dashboard has
    no charts. `oidc` is the absolute path of the file that names the OIDC issuers, `limits` of the
    one that says how much anybody may have; empty: there is none. `tls` encrypts all connections of
    the platform's own, `tls_dir` is a folder with the controller's certificate, if it is given
    (`tls.crt`, `tls.key`, `ca.crt`), `ray_tls` encrypts those of the Ray cluster too.
    """

    cpus: int
    shards: int = 2
    parameter_replicas: int = 0
    disk_cap: int = 0
    ray_address: str = ""
    dashboard: str = ""
    ray_token_path: str = ""
    prometheus: str = ""
    grafana: str = ""
    grafana_iframe: str = ""
    oidc: str = ""
    limits: str = ""
    tls: bool = False
    tls_dir: str = ""
    ray_tls: bool = False

    def __post_init__(self) -> None:
        if self.cpus < 1:
            raise errors.InvalidArgumentError("--cpus: at least 1", reason="INVALID_FIELD")
        if self.shards < 1:
            raise errors.InvalidArgumentError("--shards: at least 1", reason="INVALID_FIELD")
        if not 0 <= self.parameter_replicas <= self.shards:
            raise errors.InvalidArgumentError(
                f"--parameter-replicas: between 0 and {self.shards}, the number of shards",
                reason="INVALID_FIELD",
            )
        if self.disk_cap < 0:
            raise errors.InvalidArgumentError("--disk-cap: not negative", reason="INVALID_FIELD")
        if bool(self.ray_address) != bool(self.dashboard):
            raise errors.InvalidArgumentError(
                "--ray-address and --dashboard go together: the cluster's address for drivers "
                "(host:port) and its dashboard's URL",
                reason="INVALID_FIELD",
            )

        self._check_charts()
        self._check_tls()

    def _check_tls(self) -> None:
        if self.tls_dir and not self.tls:
            raise errors.InvalidArgumentError("--tls-dir: it is for --tls", reason="INVALID_FIELD")
        if self.ray_tls and not self.tls:
            raise errors.InvalidArgumentError("--ray-tls: it is for --tls", reason="INVALID_FIELD")
        if self.ray_tls and self.ray_address:
            raise errors.InvalidArgumentError(
                "--ray-tls is a setting of a cluster that `tessera up` starts; one that it "
                "attaches to has its own",
                reason="INVALID_FIELD",
            )

    def _check_charts(self) -> None:
        """Refuse what Ray's dashboard would take without a word."""
        given = {
            name: value
            for name in ("prometheus", "grafana", "grafana_iframe")
            if (value := getattr(self, name))
        }
        for name, value in given.items():
            if not value.startswith(("http://", "https://")):
                raise errors.InvalidArgumentError(
                    f"--{name.replace('_', '-')}: {value!r} is no URL; for example "
                    "http://127.0.0.1:3000",
                    reason="INVALID_FIELD",
                )
        if "grafana" in given and "prometheus" not in given:
            raise errors.InvalidArgumentError(
                "--grafana: its charts need --prometheus too", reason="INVALID_FIELD"
            )
        if "grafana_iframe" in given and "grafana" not in given:
            raise errors.InvalidArgumentError(
                "--grafana-iframe: name Grafana's address for Ray too, with --grafana",
                reason="INVALID_FIELD",
            )
        if given and self.ray_address:
            raise errors.InvalidArgumentError(
                "--prometheus and --grafana are settings of a cluster that `tessera up` starts; "
                "one that it attaches to has its own",
                reason="INVALID_FIELD",
            )

    def charts(self) -> dict[str, str]:
        """What Ray's dashboard finds of it in its environment."""
        found = {
            "RAY_PROMETHEUS_HOST": self.prometheus,
            "RAY_GRAFANA_HOST": self.grafana,
            "RAY_GRAFANA_IFRAME_HOST": self.grafana_iframe or self.grafana,
        }
        return {name: value for name, value in found.items() if value}

    def to_json(self) -> str:
        """For the supervisor's command line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Options:
        """The reverse of `to_json`."""
        return cls(**json.loads(text))
