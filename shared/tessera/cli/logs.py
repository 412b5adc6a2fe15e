"""`tessera logs`."""

from __future__ import annotations

from typing import Annotated

import typer

from tessera.cli import show
from tessera.cli.connect import connect, options_of
from tessera.cli.named import JobArgument, job_id


def logs(  # noqa: PLR0917 - typer fills in options by name
    context: typer.Context,
    job: JobArgument,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Stay until the job has ended.")
    ] = False,
    attempt: Annotated[int, typer.Option(min=0, help="Its number; 0: the newest.")] = 0,
    source: Annotated[str, typer.Option(help="`driver`, `rank-0` …; empty: all.")] = "",
    tail: Annotated[int, typer.Option(min=0, help="Only the last lines of each source.")] = 0,
) -> None:
    """Print log lines of a job."""
    json = options_of(context).json
    with connect(context) as client:
        for part in client.jobs.logs(
            job_id(client, job), attempt=attempt, source=source, follow=follow, tail=tail
        ):
            if json:
                show.as_json(part, stream=True)
                continue
            for text in part.lines:
                show.line(text if source else f"{part.source:<8} | {text}")
