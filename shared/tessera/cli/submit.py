"""`tessera submit`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from tessera import errors
from tessera.api.controller.v1.job_pb2 import Job
from tessera.api.controller.v1.spec_pb2 import JobSpec
from tessera.cli import show
from tessera.cli.connect import connect, options_of
from tessera.cli.watch import follow
from tessera.client import Client
from tessera.client.prepare import Prepared, prepare
from tessera.spec import dump, rate_is_open, read, resolve
from tessera.spec.epochs import expected

_SHOWN = 20
"""Classes that a line lists."""

SHOWN_UPLOAD = 4 << 20
"""Uploads of fewer bytes are over before anybody wonders."""


def submit(  # noqa: PLR0917 - typer fills in options by name
    context: typer.Context,
    file: Annotated[
        Path, typer.Argument(help="The job, in YAML; `-`: from stdin.", show_default=False)
    ],
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a field, e.g. train.lr=0.001."),
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Stay until the job has ended.")] = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Show the job with every default, create nothing; needs no platform."
        ),
    ] = False,
    request_id: Annotated[
        str, typer.Option(help="Repeating it with the same file gives the same job.")
    ] = "",
) -> None:
    """Submit a job."""
    document = read(file, set_ or ())
    json = options_of(context).json
    try:
        with show.console(stderr=True).status("reading the data …"):
            prepared = prepare(document.spec, document.folder)
        for text in prepared.data.notes:
            show.note(f"tessera: {text}")
        if dry_run:
            _show(context, prepared)
            return
        with connect(context) as client:
            job = _send(client, prepared, request_id)
            if json:
                show.as_json(job, stream=watch)
            else:
                name = f"{job.id}  ({job.spec.name})"
                show.line(name if watch else f"{name}  submitted; `tessera watch {job.id}` follows")
            if watch:
                raise typer.Exit(follow(client, job.id, json=json))
    except errors.TesseraError as error:
        raise document.locate(error) from None


def _show(context: typer.Context, prepared: Prepared) -> None:
    """The resolved spec, and what a platform would be asked; one that runs is asked itself."""
    try:
        with connect(context) as client:
            spec, told = client.jobs.ask(prepared), f"{client.address} would take it"
    except errors.TesseraError as error:
        if error.reason not in {"NO_PLATFORM", "CONTROLLER_UNREACHABLE"}:
            raise
        spec, told = resolve(prepared.spec), f"no platform was asked: {error.message}"
        if rate_is_open(prepared.spec):
            # Whoever submits what is shown here is to get the rate that suits the version.
            spec.train.ClearField("lr")
            told += "; train.lr is open: it follows from the width of the version in model.init"
    if options_of(context).json:
        show.as_json(spec)
        return
    sys.stdout.write(dump(spec))
    for text in (*_asked(spec, prepared), told):
        show.line(f"# {text}")


def _asked(spec: JobSpec, prepared: Prepared) -> Iterator[str]:
    """What a job occupies, sends and learns from, in lines."""
    resources, data = spec.resources, prepared.data
    cpus = f"{resources.cpus_per_worker:g} CPU{'' if resources.cpus_per_worker == 1 else 's'}"
    held = f"{_count(resources.workers, 'worker')} of {cpus}"
    if resources.HasField("accelerator"):
        held += f" and {resources.accelerator.count:g} {resources.accelerator.type}"
    yield f"{held}, in the queue {spec.queue}"
    if prepared.files:
        total = sum(file.size for file in prepared.files)
        yield f"{_count(len(prepared.files), 'file')} to upload, {show.size(total)} together"
    if data.skipped:
        yield f"the data was not read whole: {data.skipped}"
    else:
        yield _count(data.examples, "text" if spec.data.format == "text" else "example")
    if told := expected(spec, data.trained):
        yield told
    if data.classes:
        shown = [f"{name} {count:,}" for name, count in list(data.classes.items())[:_SHOWN]]
        more = [f"{len(data.classes) - _SHOWN} more"] if len(data.classes) > _SHOWN else []
        yield f"classes: {', '.join(shown + more)}"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _send(client: Client, prepared: Prepared, request_id: str) -> Job:
    """Submit, telling about uploads that take a while."""
    terminal = show.console(stderr=True)
    with terminal.status("submitting …") as status:

        def progress(done: int, total: int) -> None:
            if total > SHOWN_UPLOAD:
                status.update(f"uploading {show.size(done)} of {show.size(total)} …")

        return client.jobs.send(prepared, request_id=request_id, progress=progress)
