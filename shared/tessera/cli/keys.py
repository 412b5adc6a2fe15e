"""`tessera keys rotate`."""

from __future__ import annotations

import typer

from tessera.cli import show
from tessera.cli.connect import connect, options_of

keys = typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=True)


@keys.callback()
def signing_keys() -> None:
    """The keys that sign tokens. For operators."""


@keys.command("rotate")
def rotate(context: typer.Context) -> None:
    """Make a new key, which signs in a minute, when every server knows it.

    Tokens of the key before stay valid until the next rotation: rotate twice, and every token that
    was made before is worthless.
    """
    with connect(context) as client:
        reply = client.access.rotate_keys()
    if options_of(context).json:
        show.as_json(reply)
        return
    show.line(f"a new key signs in a minute; valid: {', '.join(reply.keys)}")
