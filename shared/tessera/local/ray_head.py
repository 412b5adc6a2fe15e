"""A Ray cluster of one node: its command, its addresses and its end."""

from __future__ import annotations

import os
import re
import shutil
import sys
import time
import urllib.error
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tessera import errors
from tessera.durable_file import PRIVATE, write_durably
from tessera.environment import hermetic
from tessera.lines import last_line
from tessera.local import ray_api
from tessera.local.child import Child
from tessera.local.network import free_port, loopback, loopback_interface
from tessera.local.patience import Patience, Signs, signs_of
from tessera.local.process import MARK, ProcessRef, kill_members, members
from tessera.local.scratch import OBJECT_STORE_BYTES, ray_dir, temp_dir
from tessera.rpc.address import join

_QUIET_SECONDS, _MOST_SECONDS = 90.0, 900.0
_SIGNS_SECONDS = 2.0
_STARTS = 3
_PASSING = ("RAY_DIED", "RAY_NO_DASHBOARD")
_DASHBOARD = re.compile(r"RAY_API_SERVER_ADDRESS='(http://[^']+)'")
_NO_DASHBOARD = "Failed to start the dashboard"


@dataclass(frozen=True, slots=True, kw_only=True)
class RayAddresses:
    """Where a cluster listens: `gcs` for drivers (host:port), the dashboard and the metrics.

    `metrics` is empty where it has none.
    """

    gcs: str
    dashboard: str
    metrics: str


@dataclass(slots=True, kw_only=True)
class RayHead:
    """One `ray start --head`, in a session of its own, on the loopback interface only.

    Args:
        token_path: file with the cluster's token.
        log_path: where the output of `ray start` goes.
        cpus: logical CPUs to advertise.
        mark: platform's id, carried by every process in its environment.
        environment: added to the environment of every process of the cluster.
    """

    token_path: Path
    log_path: Path
    cpus: int
    mark: str
    environment: Mapping[str, str] = field(default_factory=dict)
    temp_dir: Path = field(default=Path(), init=False)
    child: Child | None = field(default=None, init=False)

    @property
    def ref(self) -> ProcessRef | None:
        """Its process, the leader of the session that all others live in."""
        return None if self.child is None else self.child.ref

    @property
    def ray_dir(self) -> Path:
        """Ray's own folder, with its sessions, sockets and logs."""
        return ray_dir(self.temp_dir)

    def start(self) -> ProcessRef:
        """Start it; `wait_ready` tells when it is up.

        Raises:
            UnavailableError: there is no folder for its files (TEMP_DIR_UNUSABLE).
        """
        self.temp_dir = temp_dir()
        (self.temp_dir / "tmp").mkdir()
        write_durably(self.log_path, b"", mode=PRIVATE)
        self.child = Child.start(self._command(), self.env(), self.log_path, self.temp_dir)
        return self.child.ref

    def env(self) -> dict[str, str]:
        """The environment of every process of the cluster."""
        return {
            # Ray's own word: without it its pages ask for Prometheus and Grafana.
            "RAY_GRAFANA_HOST": "DISABLED",
            # Ranks meet here too: Gloo would take what the machine's name means, if anything.
            "GLOO_SOCKET_IFNAME": loopback_interface(),
            **hermetic(os.environ),
            **client_env(self.token_path),
            MARK: self.mark,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
            # What a killed worker leaves behind goes with the cluster.
            "TMPDIR": str(self.temp_dir / "tmp"),
            # A busy machine needs longer for it.
            "RAY_DASHBOARD_STARTUP_TIMEOUT_S": "300",
            "RAY_USAGE_STATS_ENABLED": "0",
            # SIGTERM would wait for detached actors; what they hold is on disk.
            "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0",
            # Eight idle workers at the first driver cost a small machine ten seconds.
            "RAY_prestart_worker_first_driver": "0",
            "AUTOSCALER_METRIC_PORT": str(free_port()),
            "DASHBOARD_METRIC_PORT": str(free_port()),
            # The exporter's failure would end the node.
            **({"RAY_enable_metrics_collection": "0"} if unmeasured() else {}),
            **self.environment,
        }

    def bring_up(
        self,
        started: Callable[[ProcessRef], None] = lambda _: None,
        stopped: Callable[[], bool] = lambda: False,
    ) -> RayAddresses:
        """Start it and wait until it is up; one that fails to come up is started again.

        Ray gives its parts 30 seconds to appear, which a busy machine may not have.

        Args:
            started: told of each process that was started.
            stopped: whether to give up.

        Raises:
            UnavailableError: it took too long, or died or lacked its dashboard three times.
            CancelledError: `stopped` became true.
        """
        for _ in range(_STARTS - 1):
            try:
                started(self.start())
                return self.wait_ready(stopped=stopped)
            except errors.UnavailableError as error:
                if error.reason not in _PASSING:
                    raise
            self.stop()
        started(self.start())
        return self.wait_ready(stopped=stopped)

    def wait_ready(
        self, seconds: float = _QUIET_SECONDS, stopped: Callable[[], bool] = lambda: False
    ) -> RayAddresses:
        """The addresses, once GCS, dashboard and its job server answer.

        Args:
            seconds: without any progress, after which it is given up.
            stopped: whether to give up.

        Raises:
            UnavailableError: it died, came to a halt or goes on without its dashboard; the message
                names the log.
            CancelledError: `stopped` became true.
        """
        patience = Patience(quiet=seconds, most=_MOST_SECONDS, begun=time.monotonic())
        looked = 0.0
        while time.monotonic() - looked < _SIGNS_SECONDS or patience.lasts(
            looked := time.monotonic(), self._signs()
        ):
            if stopped():
                raise errors.CancelledError("stopped while Ray was starting")
            if self.child is None or not self.child.alive:
                code = None if self.child is None else self.child.code
                raise errors.UnavailableError(
                    f"Ray ended with code {code} while it was starting; see {self.log_path}",
                    reason="RAY_DIED",
                )
            if self._dashboard_failure():
                time.sleep(0.5)  # Ray's own words are on their way.
                raise errors.UnavailableError(
                    "Ray could not start its dashboard; its last words: "
                    f"{self._dashboard_failure()}; see {self.log_path}",
                    reason="RAY_NO_DASHBOARD",
                )
            if (addresses := self._addresses()) and self._answers(addresses.dashboard):
                return addresses
            time.sleep(0.1)
        raise errors.UnavailableError(
            f"Ray is not up after {time.monotonic() - patience.begun:.0f} s, the last "
            f"{time.monotonic() - patience.moved:.0f} s without progress; see {self.log_path}",
            reason="RAY_SLOW",
        )

    def stop(self, grace: float = 8.0) -> None:
        """SIGTERM, then SIGKILL of what is left of it; its files go too."""
        if self.child is not None:
            self.child.stop(grace)
            kill_members(self.mark, [self.child.ref])
        if self.temp_dir.name:
            shutil.rmtree(self.temp_dir, ignore_errors=True)

    def _command(self) -> list[str]:
        zero = (
            "port",
            "dashboard-port",
            "dashboard-agent-listen-port",
            "dashboard-agent-grpc-port",
            "metrics-export-port",
            "runtime-env-agent-port",
            "node-manager-port",
            "object-manager-port",
            # The default is a fixed range, which two clusters would share.
            "min-worker-port",
            "max-worker-port",
        )
        return [
            *("-m", "ray.scripts.scripts", "start", "--head", "--block"),
            *("--disable-usage-stats", "--log-style=record", "--log-color=false"),
            *(f"--node-ip-address={loopback()}", f"--dashboard-host={loopback()}"),
            *(f"--{name}=0" for name in zero),
            f"--ray-client-server-port={free_port()}",
            f"--temp-dir={self.ray_dir}",
            f"--num-cpus={self.cpus}",
            f"--object-store-memory={OBJECT_STORE_BYTES}",
        ]

    def _addresses(self) -> RayAddresses | None:
        """What Ray has written down so far."""
        try:
            gcs = (self.ray_dir / "ray_current_cluster").read_text().strip()
            dashboard = _DASHBOARD.search(self.log_path.read_text(errors="replace"))
            ports = list((self.ray_dir / "session_latest").glob("metrics_export_port_*"))
            port = ports[0].read_text().strip() if ports else ""
        except OSError:
            return None
        if not gcs or dashboard is None or not port:
            return None
        metrics = "" if unmeasured() else f"http://{join(loopback(), int(port))}/metrics"
        return RayAddresses(gcs=gcs, dashboard=dashboard[1], metrics=metrics)

    def _signs(self) -> Signs:
        leaders = [] if self.child is None else [self.child.ref]
        return signs_of(members(self.mark, leaders), [self.log_path])

    def _dashboard_failure(self) -> str:
        """The last that Ray wrote of its dashboard's failure; empty when there is none."""
        try:
            log = self.log_path.read_text(errors="replace")
        except OSError:
            return ""
        _, found, words = log.partition(_NO_DASHBOARD)
        return last_line(found + words)

    def _answers(self, dashboard: str) -> bool:
        try:
            ray_api.get(f"{dashboard}/api/jobs/", self.token_path, seconds=5.0)
        except (OSError, urllib.error.URLError):
            return False
        return True


def unmeasured() -> str:
    """A sentence where Ray can have no metrics; empty where it can.

    Raises:
        FailedPreconditionError: there is no address that it could listen at (NO_LOOPBACK).
    """
    if loopback() != "::1":
        return ""
    return (
        "no metrics, and no load in Ray's dashboard: Ray exports them by IPv4 alone, and this "
        "machine has IPv6 alone"
    )


def client_env(token_path: Path) -> dict[str, str]:
    """What a driver needs in its environment, beside RAY_ADDRESS."""
    return {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token_path),
        # Without it Ray turns 127.0.0.1 into the machine's outer address and listens there.
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    }
