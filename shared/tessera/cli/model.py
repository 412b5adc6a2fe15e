"""`tessera model`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated

import typer

from tessera.api.inference.v1 import inference_pb2 as pb
from tessera.cli import show
from tessera.cli.connect import connect, options_of
from tessera.cli.texts import ModelArgument
from tessera.client.processes import ReplicaReport


def model(
    context: typer.Context,
    name: ModelArgument,
    replicas: Annotated[
        bool,
        typer.Option(
            "--replicas", help="Instead: its replicas, with a digest of the weights of each."
        ),
    ] = False,
) -> None:
    """Show what a deployed model is, and what one can ask it.

    tessera model stars
    tessera model stars --replicas
    """
    if replicas:
        _show_replicas(context, name)
        return
    with connect(context) as client:
        found = client.model(name)
    if options_of(context).json:
        show.as_json(found)
        return
    for title, value in _facts(found):
        if value:
            show.line(f"{title:<11} {value}")


def _show_replicas(context: typer.Context, name: str) -> None:
    with connect(context) as client:
        reports = client.processes.replicas(name)
    if options_of(context).json:
        show.as_json([asdict(report) for report in reports])
        return
    columns = ("REPLICA", "STATE", "VERSION", "RUNNING", "WAITING", "CORRUPTED", "WEIGHTS", "NOTE")
    show.table(columns, [_row(report) for report in reports], empty="no replica is registered")
    if note := _comparison(reports):
        show.line(note)


def _row(report: ReplicaReport) -> tuple[str, ...]:
    return (
        report.name,
        report.state,
        str(report.version or ""),
        str(report.running),
        str(report.waiting),
        str(report.corrupted_requests),
        report.digest,
        " ".join(report.message.split()),
    )


def _comparison(reports: Sequence[ReplicaReport]) -> str:
    """Whether those that have weights hold the same bytes; empty where fewer than two have any."""
    digests = [report.digest for report in reports if report.digest]
    if len(digests) < 2:  # noqa: PLR2004 - one is like itself
        return ""
    if len(set(digests)) == 1:
        return f"all {len(digests)} hold the same weights"
    return f"they hold {len(set(digests))} different weights"


def _facts(found: pb.GetModelResponse) -> list[tuple[str, str]]:
    return [
        ("model", found.model),
        ("family", found.family),
        ("task", found.task),
        ("answers", ", ".join(found.methods)),
        ("version", f"{found.set}@{found.version}"),
        ("parameters", f"{found.parameters:,}"),
        ("context", f"{found.context} tokens"),
        ("width", str(found.width or "")),
        ("labels", ", ".join(found.labels)),
    ]
