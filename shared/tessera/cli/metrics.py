"""`tessera metrics`."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Annotated

import typer

from tessera.api.controller.v1 import job_pb2 as pb
from tessera.cli import show
from tessera.cli.chart import plot
from tessera.cli.connect import connect, options_of
from tessera.cli.named import JobArgument, job_id

CURVES = {"loss": "loss", "held_out_loss": "held-out loss", "baseline_loss": "baseline"}


def metrics(
    context: typer.Context,
    job: JobArgument,
    name: Annotated[
        list[str] | None, typer.Option(help="Metric to plot; repeat it. Default: the losses.")
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Wait until the job has ended.")
    ] = False,
) -> None:
    """Plot the losses of a job; with `--output json`, print its points."""
    with connect(context) as client:
        points = client.jobs.metrics(job_id(client, job), follow=follow)
        if options_of(context).json:
            for point in points:
                show.as_json(point, stream=True)
            return
        found = latest(points)
    names = {key: key for key in name} if name else CURVES
    curves = {
        title: [(step, values[key]) for step, values in found.items() if key in values]
        for key, title in names.items()
    }
    shown = {title: curve for title, curve in curves.items() if curve}
    if not shown:
        known = sorted({key for values in found.values() for key in values})
        show.line(f"no such points yet; there are: {', '.join(known) or 'none at all'}")
    for text in plot(shown):
        show.line(text)


def latest(points: Iterable[pb.MetricPoint]) -> dict[int, dict[str, float]]:
    """Finite values by step, in the order of steps; a later attempt replaces an earlier one."""
    found: dict[int, dict[str, float]] = {}
    for point in points:
        values = {key: value for key, value in point.values.items() if math.isfinite(value)}
        found.setdefault(point.step, {}).update(values)
    return dict(sorted(found.items()))
