"""`tessera down`: end this home's platform, and nothing else."""

from __future__ import annotations

import signal
from typing import Annotated

import typer

from tessera import errors
from tessera.cli import show
from tessera.cli.home import home_of
from tessera.local import teardown


def down(
    context: typer.Context,
    purge: Annotated[
        bool, typer.Option("--purge", help="Delete the home too: jobs, versions, logs, secrets.")
    ] = False,
) -> None:
    """End the platform: exactly the processes that it started."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Half an end is no end.
    home = home_of(context)
    console = show.console(stderr=True)
    if not home.exists:
        if purge and home.path.exists():
            raise errors.FailedPreconditionError(
                f"{home.path} is not the home of a Tessera platform; nothing was deleted",
                reason="NOT_A_HOME",
            )
        console.print(f"No platform in {home.path}.")
        return
    with console.status("ending …"):
        ran = teardown.stop(home)
    console.print("The platform is down." if ran else f"No platform runs in {home.path}.")
    if purge:
        left = home.purge()
        kept = f", but {', '.join(left)} in it are not the platform's" if left else ""
        console.print(f"{home.path} is deleted{kept}.")
