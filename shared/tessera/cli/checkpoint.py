"""`tessera checkpoint`."""

from __future__ import annotations

from typing import Annotated

import typer

from tessera import errors
from tessera.cli import show
from tessera.cli.connect import connect, options_of
from tessera.cli.named import JobArgument, job_id


def checkpoint(
    context: typer.Context,
    job: JobArgument,
    wait: Annotated[bool, typer.Option(help="Stay until the version is committed.")] = True,
) -> None:
    """Let a running job commit a version now, between two steps.

    tessera checkpoint my-job
    tessera checkpoint my-job --no-wait
    """
    with connect(context) as client:
        name = job_id(client, job)
        taken = client.jobs.checkpoint(name)
        version = client.jobs.wait_checkpoint(name, taken) if wait else 0
        found = client.jobs.get(name)
    if wait and not version:
        raise errors.FailedPreconditionError(
            f"{found.id} ended before it had committed another version; its newest is"
            f" {found.progress.version}",
            reason="JOB_ENDED",
        )
    if options_of(context).json:
        show.as_json(taken)
    elif wait:
        show.line(f"{found.id}  {found.spec.publish.set}@{version}")
    else:
        show.line(f"{found.id}  asked at step {taken.step}")
