"""`tessera down`: end this home's platform, and nothing else."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from tessera import errors
from tessera.local import teardown
from tessera.local.home import Home


def down(
    context: typer.Context,
    purge: Annotated[
        bool, typer.Option("--purge", help="Delete the home too: jobs, versions, logs.")
    ] = False,
) -> None:
    """End the platform: exactly the processes that it started."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Half an end is no end.
    home = Home(Path(context.obj.home).expanduser().resolve())
    console = Console(stderr=True, highlight=False, soft_wrap=True)
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
