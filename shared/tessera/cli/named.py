"""The job that a command is about: its id or its name."""

from __future__ import annotations

from typing import Annotated

import typer

from tessera.cli import show
from tessera.client import Client

JobArgument = Annotated[
    str, typer.Argument(help="Id of the job, or its name: the newest.", show_default=False)
]


def job_id(client: Client, job: str) -> str:
    """The id of a job; where others of its name have not ended either, a note lists them.

    Raises:
        NotFoundError: JOB_NOT_FOUND.
    """
    newest = client.jobs.resolve(job)
    others = [other for other in client.jobs.unfinished(job) if other != newest]
    if others:
        show.note(
            f"tessera: this is {newest}, the newest job named `{job}`; "
            f"not ended either: {', '.join(others)}"
        )
    return newest
