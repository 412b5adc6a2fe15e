"""Asks before what has no way back."""

from __future__ import annotations

import sys

import typer

from tessera import errors


def confirm(what: str, *, yes: bool) -> None:
    """Go on if somebody means it.

    Args:
        what: would happen, for example `drop job-1`.
        yes: it was said already.

    Raises:
        InvalidArgumentError: nobody can be asked (NOT_CONFIRMED).
        Abort: whoever was asked does not mean it.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise errors.InvalidArgumentError(
            f"this would {what} for good: add --yes to say that you mean it",
            reason="NOT_CONFIRMED",
        )
    typer.confirm(f"{what[:1].upper()}{what[1:]} for good?", abort=True, err=True)
