"""The home that the global options name."""

from __future__ import annotations

import typer

from tessera.cli.connect import options_of
from tessera.client.home import check_readable, folder_of
from tessera.local.home import Home


def home_of(context: typer.Context) -> Home:
    """The home of the platform on this machine.

    Raises:
        FailedPreconditionError: HOME_UNUSABLE: it is another user's, or there is none.
    """
    folder = folder_of(options_of(context).home)
    check_readable(folder)
    return Home(folder.resolve())
