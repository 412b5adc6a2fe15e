"""What training says of itself: its held-out measures, and the baseline from the same samples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tessera.api.controller.v1.job_pb2 import Job
from tessera.client import Client

_PREFIX = "held_out_"


def reached(client: Client, job: str) -> dict[str, float]:
    """The last held-out measures of the newest job of a name."""
    found: dict[str, float] = {}
    for point in client.jobs.metrics(newest(client, job).id):
        found.update(point.values)
    return {
        name.removeprefix(_PREFIX): value
        for name, value in found.items()
        if name.startswith(_PREFIX)
    }


def report(client: Client, job: str) -> str:
    """The same as a table, beside the baseline that the job measured."""
    ours = reached(client, job)
    examples = ours.pop("examples")
    event = next(
        update.event
        for update in client.jobs.watch(newest(client, job).id)
        if update.event.type == "baseline"
    )
    details: Mapping[str, Any] = dict(event.details.items())
    baseline = {"loss": details["baseline_loss"], **dict(details["metrics"].items())}
    rows = [
        f"  {name.replace('_', ' '):<24}{value:>12.3f}{_cell(baseline.get(name)):>12}"
        for name, value in sorted(ours.items())
    ]
    head = f"  {job:<24}{'this model':>12}{'baseline':>12}"
    return "\n".join(
        [f"On {examples:,.0f} examples that it has never seen:", head, *rows, f"  {event.message}"]
    )


def _cell(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def newest(client: Client, name: str) -> Job:
    """The newest job of a name."""
    return next(client.jobs.list(f"name={name}"))
