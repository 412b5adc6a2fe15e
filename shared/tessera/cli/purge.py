"""`tessera purge`."""

from __future__ import annotations

from typing import Annotated

import typer

from tessera.cli import show
from tessera.cli.confirm import confirm
from tessera.cli.connect import connect, options_of
from tessera.cli.named import job_id


def purge(
    context: typer.Context,
    jobs: Annotated[
        list[str], typer.Argument(metavar="JOB...", help="Ids or names.", show_default=False)
    ],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Drop ended jobs with their events, metrics and logs. There is no way back.

    The versions that they published stay: `tessera delete SET` drops those. A job that has not
    ended is refused: cancel it first.
    """
    with connect(context) as client:
        ids = list(dict.fromkeys(job_id(client, job) for job in jobs))
        confirm(f"drop {', '.join(ids)}", yes=yes)
        for job in ids:
            client.jobs.delete(job)
    if options_of(context).json:
        show.as_json({"jobs": ids})
        return
    for job in ids:
        show.line(f"{job} is gone")
