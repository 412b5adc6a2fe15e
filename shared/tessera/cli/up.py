"""`tessera up`: start a platform on this machine, or attach one to a Ray cluster."""

from __future__ import annotations

import getpass
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from tessera import errors
from tessera.cli import show
from tessera.cli.exit_codes import ended_by
from tessera.cli.home import home_of
from tessera.cli.sizes import parse_size
from tessera.local import readiness, teardown
from tessera.local.home import Home
from tessera.local.launch import Launch
from tessera.local.options import Options
from tessera.local.ray_head import unmeasured
from tessera.local.readiness import Step
from tessera.local.scratch import small_shared_memory
from tessera.local.state import State
from tessera.rpc.issuer_tls import check_authorities
from tessera.rpc.platform_limits import PlatformLimits
from tessera.rpc.policy.oidc import OidcConfig
from tessera.rpc.tls.given import GivenCertificate
from tessera.spec.configuration import read

_LEAST_CPUS = 8
_TELL_SECONDS = 30.0
"""Off a terminal, what is awaited is told so often."""


_Cpus = Annotated[
    int | None,
    typer.Option(help="Logical CPUs that Ray hands out.", show_default="8, or the cores"),
]
_RayToken = Annotated[
    Path | None,
    typer.Option(envvar="RAY_AUTH_TOKEN_PATH", help="File with that cluster's token."),
]
_Prometheus = Annotated[str, typer.Option(help="URL of Prometheus, for the dashboard's charts.")]
_Grafana = Annotated[str, typer.Option(help="URL of Grafana, for the dashboard's charts.")]
_GrafanaIframe = Annotated[
    str, typer.Option(help="URL of Grafana for the browser, if it is another.")
]
_Tls = Annotated[
    bool,
    typer.Option(
        "--tls", envvar="TESSERA_TLS", help="Encrypt all connections of the platform's own."
    ),
]
_TlsDir = Annotated[
    Path | None,
    typer.Option(
        help="Folder with tls.crt, tls.key and ca.crt of the controller; else they are made."
    ),
]
_Oidc = Annotated[Path | None, typer.Option(help="YAML file: OIDC issuers whose tokens are taken.")]
_Limits = Annotated[
    Path | None, typer.Option(help="YAML file: how much tenants and principals may have.")
]
_RayTls = Annotated[bool, typer.Option("--ray-tls", help="Encrypt Ray's own connections too.")]


class Interrupts:
    """Notes Ctrl-C and SIGTERM instead of raising: nothing is ever half started unnoticed."""

    def __init__(self) -> None:
        self.number = 0
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda number, _: self._note(number))

    def _note(self, number: int) -> None:
        self.number = self.number or number

    def __call__(self) -> bool:
        """Whether one came."""
        return self.number != 0


def up(  # noqa: PLR0917 - typer fills in options by name
    context: typer.Context,
    cpus: _Cpus = None,
    shards: Annotated[int, typer.Option(help="Parameter shards.")] = 2,
    parameter_replicas: Annotated[
        int, typer.Option(help="Shards that have each piece of a version. 0: by the nodes.")
    ] = 0,
    disk_cap: Annotated[
        str, typer.Option(help="Most that versions may take on disk, for example 20GB.")
    ] = "",
    ray_address: Annotated[
        str, typer.Option(help="Attach to a running Ray cluster: its address, host:port.")
    ] = "",
    dashboard: Annotated[str, typer.Option(help="URL of that cluster's dashboard.")] = "",
    ray_token: _RayToken = None,
    prometheus: _Prometheus = "",
    grafana: _Grafana = "",
    grafana_iframe: _GrafanaIframe = "",
    oidc: _Oidc = None,
    limits: _Limits = None,
    tls: _Tls = False,
    tls_dir: _TlsDir = None,
    ray_tls: _RayTls = False,
    timeout: Annotated[
        float, typer.Option(help="Seconds without progress after which it is given up.")
    ] = 120.0,
    foreground: Annotated[bool, typer.Option(help="Stay, and end it with Ctrl-C.")] = False,
) -> None:
    """Start the platform on this machine and print where it is."""
    os.umask(0o077)  # What the platform writes is for its owner, whatever others' files are.
    interrupted = Interrupts()
    token = str(ray_token.resolve()) if ray_token and ray_address else ""
    if tls_dir:
        GivenCertificate(tls_dir)
    options = Options(
        cpus=max(_LEAST_CPUS, os.cpu_count() or 1) if cpus is None else cpus,
        shards=shards,
        parameter_replicas=parameter_replicas,
        disk_cap=parse_size(disk_cap, "--disk-cap") if disk_cap else 0,
        ray_address=ray_address,
        dashboard=dashboard.rstrip("/"),
        ray_token_path=token,
        prometheus=prometheus.rstrip("/"),
        grafana=grafana.rstrip("/"),
        grafana_iframe=grafana_iframe.rstrip("/"),
        oidc=_checked_issuers(oidc) if oidc else "",
        limits=_checked_limits(limits) if limits else "",
        tls=tls or tls_dir is not None,
        tls_dir=str(tls_dir.absolute()) if tls_dir else "",
        ray_tls=ray_tls,
    )
    home = home_of(context)
    console = show.console(stderr=True)
    if _runs(home):
        console.print(f"A platform runs in {home.path} already.")
        _show(home, State.load(home.state_path))
    else:
        _start(home, options, timeout, interrupted, console)
    if foreground:
        _stay(home, interrupted, console)


def _checked_issuers(path: Path) -> str:
    """The absolute path of a file that the controller will read, which has no mistake now."""
    check_authorities(read(path, OidcConfig))
    return str(path.absolute())


def _checked_limits(path: Path) -> str:
    """The same, of limits."""
    read(path, PlatformLimits)
    return str(path.absolute())


def _runs(home: Home) -> bool:
    """Whether a platform is up here, whole."""
    state = State.load(home.state_path) if home.is_locked else None
    return state is not None and all(step.done for step in readiness.look(home, state))


def _start(
    home: Home, options: Options, timeout: float, interrupted: Interrupts, console: Console
) -> None:
    home.prepare(_user())
    if not options.ray_address:
        for note in filter(None, (small_shared_memory(), unmeasured())):
            console.print(f"note: {note}")
    started = time.monotonic()
    launch = Launch.start(home, options)
    try:
        with console.status("starting …") as status:
            progress = _progress(console, status.update, started)
            state = launch.wait(timeout, interrupted, progress)
    except errors.TesseraError:
        launch.abandon()
        raise
    if state is None:
        console.print("Interrupted: ending what was started …")
        launch.abandon()
        console.print("Nothing of it runs any more.")
        sys.exit(ended_by(interrupted.number))
    console.print(f"The platform is up after {time.monotonic() - started:.0f} s.")
    _show(home, state)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, ImportError, OSError):  # Of a number that has no name.
        return f"uid-{os.getuid()}"


def _progress(
    console: Console, update: Callable[[str], None], started: float
) -> Callable[[Sequence[Step]], None]:
    """Print each step once when it is done, and show the one that is awaited."""
    printed: set[str] = set()
    told = started

    def tell(steps: Sequence[Step]) -> None:
        nonlocal told
        for step in steps:
            if step.done and step.name not in printed:
                printed.add(step.name)
                seconds = time.monotonic() - started
                console.print(f"  {step.name:<11} {step.detail}  ({seconds:.1f} s)")
        awaited = next((step for step in steps if not step.done), None)
        if awaited:
            update(f"starting {awaited.name} … {awaited.detail}")
            if not console.is_terminal and time.monotonic() - told >= _TELL_SECONDS:
                told = time.monotonic()
                console.print(f"  waiting for {awaited.name} … {awaited.detail}".rstrip())

    return tell


def _show(home: Home, state: State | None) -> None:
    """A small table of addresses, and what to try next."""
    if state is None:
        return
    spoken = f"gRPC over TLS, {state.ca}" if state.ca else "gRPC"
    rows = [("controller", f"{state.controller} ({spoken})"), ("Ray dashboard", state.dashboard)]
    if state.metrics:
        rows.append(("metrics", f"{state.metrics} (Prometheus)"))
    if state.ray_token_path:
        rows.append(("dashboard's token", f"in {state.ray_token_path}"))
    rows.append(("home and logs", str(home.path)))
    show.facts(rows)
    show.line("Try next:  tessera status · tessera submit FILE --watch · tessera down")


def _stay(home: Home, interrupted: Interrupts, console: Console) -> None:
    console.print("Ctrl-C ends it.")
    while not interrupted() and home.is_locked:
        time.sleep(0.3)
    if not interrupted():
        raise errors.UnavailableError(
            f"the supervisor is gone; see {home.log_path('supervisor')}", reason="SUPERVISOR_DIED"
        )
    teardown.stop(home)
    console.print("The platform is down.")
    sys.exit(ended_by(interrupted.number))
