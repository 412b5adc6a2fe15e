"""`tessera submit`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from tessera import errors
from tessera.api.controller.v1.job_pb2 import Job
from tessera.cli import show
from tessera.cli.connect import connect, settings_of
from tessera.cli.watch import follow
from tessera.client import Client
from tessera.spec import Document, check, dump, read

SHOWN_UPLOAD = 4 << 20
"""Uploads of fewer bytes are over before anybody wonders."""


def submit(  # noqa: PLR0917 - typer fills in options by name
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="The job, in YAML.", show_default=False)],
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a field, e.g. train.lr=0.001."),
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Stay until the job has ended.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the job with every default, create nothing.")
    ] = False,
    request_id: Annotated[
        str, typer.Option(help="Repeating it with the same file gives the same job.")
    ] = "",
) -> None:
    """Submit a job."""
    document = read(file, set_ or ())
    settings = settings_of(context)
    try:
        check(document.spec, uploaded=False)
        with connect(context) as client:
            if dry_run:
                spec = client.jobs.validate(document.spec, folder=document.folder)
                if settings.json:
                    show.as_json(spec)
                else:
                    sys.stdout.write(dump(spec))
                return
            job = _create(client, document, request_id)
            if settings.json:
                show.as_json(job, stream=watch)
            else:
                name = f"{job.id}  ({job.spec.name})"
                show.line(name if watch else f"{name}  submitted; `tessera watch {job.id}` follows")
            if watch:
                code = follow(client, job.id, json=settings.json)
                raise typer.Exit(code)
    except errors.TesseraError as error:
        raise document.locate(error) from None


def _create(client: Client, document: Document, request_id: str) -> Job:
    """Submit, telling about uploads that take a while."""
    terminal = show.console(stderr=True)
    with terminal.status("submitting …") as status:

        def progress(done: int, total: int) -> None:
            if total > SHOWN_UPLOAD:
                status.update(f"uploading {show.size(done)} of {show.size(total)} …")

        return client.jobs.create(
            document.spec, request_id=request_id, folder=document.folder, progress=progress
        )
