"""`tessera watch`, and what `submit --watch` shows."""

from __future__ import annotations

import sys
import time

import typer
from rich.live import Live

from tessera.api.controller.v1 import job_pb2 as pb
from tessera.cli import show
from tessera.cli.connect import connect, options_of
from tessera.cli.exit_codes import DONE, FAILED, INTERRUPTED
from tessera.cli.named import JobArgument, job_id
from tessera.cli.view import View
from tessera.client import Client

PLAIN_SECONDS = 5.0
"""Off a terminal, progress is printed at most so often."""


def watch(
    context: typer.Context,
    job: JobArgument,
) -> None:
    """Watch a job until it ends."""
    with connect(context) as client:
        raise typer.Exit(follow(client, job_id(client, job), json=options_of(context).json))


def follow(client: Client, job: str, *, json: bool) -> int:
    """Show a job until it ends; returns the exit code that its outcome calls for.

    Ctrl-C ends only the watching.
    """
    try:
        if json:
            for update in client.jobs.watch(job):
                show.as_json(update, stream=True)
        elif sys.stdout.isatty():
            _live(client, job)
        else:
            _plain(client, job)
    except KeyboardInterrupt:
        show.note(
            f"tessera: the job goes on; `tessera watch {job}` shows it again, "
            f"`tessera cancel {job}` ends it"
        )
        return INTERRUPTED
    return tell_outcome(client.jobs.get(job))


def tell_outcome(job: pb.Job) -> int:
    """One line on how a job ended; the exit code."""
    if job.state == pb.JOB_STATE_SUCCEEDED:
        return DONE
    if job.state == pb.JOB_STATE_CANCELLED:
        show.note(f"tessera: job {job.id} was cancelled")
        return FAILED
    failure = job.failure
    if failure.traceback:
        show.note(failure.traceback.rstrip())
    rank = f" on rank {failure.rank}" if failure.rank >= 0 and failure.traceback else ""
    message = " ".join(failure.message.split())
    show.note(f"tessera: job {job.id} failed{rank}: {failure.reason}: {message}")
    return FAILED


def _live(client: Client, job: str) -> None:
    """A picture that is drawn again at every change, events scrolling by above it."""
    terminal = show.console()
    view = View()
    with Live(console=terminal, refresh_per_second=4, transient=False) as live:
        for update in client.jobs.watch(job):
            if update.WhichOneof("update") == "event":
                view.add_event(update.event)
                terminal.print(event_line(update.event))
            else:
                view.add_progress(update.progress)
            live.update(view.picture())


def _plain(client: Client, job: str) -> None:
    """Lines: every event, and progress now and then."""
    view, printed = View(), 0.0
    for update in client.jobs.watch(job):
        if update.WhichOneof("update") == "event":
            view.add_event(update.event)
            show.line(event_line(update.event))
            continue
        view.add_progress(update.progress)
        last = 0 < update.progress.total_steps == update.progress.step
        if time.monotonic() - printed >= PLAIN_SECONDS or last:
            printed = time.monotonic()
            show.line(f"          {view.line()}")


def event_line(event: pb.JobEvent) -> str:
    """An entry of the history: time, kind and sentence."""
    clock = event.time.ToDatetime().astimezone().strftime("%H:%M:%S")
    return f"{clock}  {event.type:<8} {' '.join(event.message.split())}"
