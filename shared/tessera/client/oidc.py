"""Where tokens of an OIDC issuer come from: each is read again before every exchange."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

from tessera import errors

COMMAND_SECONDS = 60.0
"""For a command: it may have to ask the issuer, or a person."""


def from_file(path: str | Path) -> Callable[[], str]:
    """Tokens of a file that somebody else keeps fresh, as Kubernetes does with projected ones.

    What it returns raises FailedPreconditionError where the file cannot be read
    (OIDC_TOKEN_UNREADABLE).
    """

    def read() -> str:
        try:
            return Path(path).read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", None) or "it is no text"
            raise _unreadable(f"the OIDC token in {path} cannot be read: {why}") from None

    return read


def from_command(command: str) -> Callable[[], str]:
    """Tokens that a command prints, given as a shell would take it; no shell is started.

    What it returns raises FailedPreconditionError where it fails or takes more than a minute
    (OIDC_TOKEN_UNREADABLE).
    """

    def run() -> str:
        try:
            done = subprocess.run(  # noqa: S603 - the user's own command
                shlex.split(command), stdout=subprocess.PIPE, timeout=COMMAND_SECONDS, check=True
            )
            return done.stdout.decode().strip()
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            raise _unreadable(f"the command for an OIDC token fails: {error}") from None

    return run


def _unreadable(problem: str) -> errors.FailedPreconditionError:
    return errors.FailedPreconditionError(problem, reason="OIDC_TOKEN_UNREADABLE")
