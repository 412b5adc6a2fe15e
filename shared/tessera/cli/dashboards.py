"""`tessera dashboards`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tessera import errors
from tessera.cli import show
from tessera.cli.connect import options_of
from tessera.local import monitoring
from tessera.local.home import Home
from tessera.local.state import State

_PROMETHEUS = "http://127.0.0.1:9090"


def dashboards(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(help="Written; made if need be.", show_default=False)],
    prometheus: Annotated[str, typer.Option(help="Where Grafana finds Prometheus.")] = _PROMETHEUS,
) -> None:
    """Write a folder that Prometheus and Grafana can be started on.

    It holds boards of the platform and of Ray, and names what to scrape. Where no platform runs in
    the home, or one on a cluster that it did not start, it holds the platform's board alone.

    tessera dashboards monitoring
    """
    options = options_of(context)
    home = Home(options.home.resolve())
    state = State.load(home.state_path)
    ray = home.ray_path if state is not None and state.ray_temp_dir else None
    try:
        written = monitoring.write(folder, prometheus.rstrip("/"), ray)
    except OSError as error:
        raise errors.InvalidArgumentError(
            f"{folder} cannot be written: {error.strerror}; name another folder",
            reason="FILE_NOT_WRITABLE",
        ) from None
    if options.json:
        show.as_json([str(folder / name) for name in written])
        return
    for name in written:
        show.line(str(folder / name))
    if ray is None:
        show.note("no Ray cluster of its own: neither prometheus.yml nor Ray's boards are there")
