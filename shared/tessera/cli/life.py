"""`tessera hold`, `release`, `pause`, `resume`, `requeue` and `priority`."""

from __future__ import annotations

from typing import Annotated

import typer

from tessera.api.controller.v1 import job_pb2 as pb
from tessera.cli import show
from tessera.cli.connect import connect, options_of
from tessera.cli.jobs import state_of
from tessera.cli.named import JobArgument

Message = Annotated[str, typer.Option("--message", "-m", help="Why: it stands in the history.")]
Grace = Annotated[
    int | None,
    typer.Option(
        min=0, max=3600, help="Seconds that it has to commit a version.", show_default="30"
    ),
]


def hold(context: typer.Context, job: JobArgument, message: Message = "") -> None:
    """Keep a job from being started; one that runs goes on until it ends."""
    with connect(context) as client:
        found = client.jobs.hold(job, message)
    _told(context, found)


def release(context: typer.Context, job: JobArgument) -> None:
    """Let a held job wait for room again."""
    with connect(context) as client:
        found = client.jobs.release(job)
    _told(context, found)


def pause(
    context: typer.Context, job: JobArgument, message: Message = "", grace: Grace = None
) -> None:
    """Let a job commit a version and give its place back, until it is resumed."""
    with connect(context) as client:
        found = client.jobs.pause(job, message, grace)
    _told(context, found)


def resume(context: typer.Context, job: JobArgument) -> None:
    """Let a paused job go on from its last version, once there is room."""
    with connect(context) as client:
        found = client.jobs.resume(job)
    _told(context, found)


def requeue(
    context: typer.Context, job: JobArgument, message: Message = "", grace: Grace = None
) -> None:
    """Let a running job commit a version, give its place back and wait for another."""
    with connect(context) as client:
        found = client.jobs.requeue(job, message, grace)
    _told(context, found)


def priority(
    context: typer.Context,
    job: JobArgument,
    priority: Annotated[
        int, typer.Argument(min=-1000, max=1000, help="Its new priority.", show_default=False)
    ],
) -> None:
    """Change the priority of a job.

    A negative one stands after `--`, so that it is no option:

    tessera priority wiki -- -5
    """
    with connect(context) as client:
        found = client.jobs.set_priority(job, priority)
    _told(context, found)


def _told(context: typer.Context, job: pb.Job) -> None:
    if options_of(context).json:
        show.as_json(job)
    else:
        show.line(f"{job.id}  {state_of(job)}  priority {job.spec.priority}")
