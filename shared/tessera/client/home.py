"""Where a platform on this machine listens, and its user's token: what its home says."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from tessera import errors

DEFAULT = "~/.tessera"


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """The controller's host:port and a token."""

    address: str
    token: str


def find(address: str | None, token: str | None, home: str | Path | None) -> Access:
    """Fill in what is not given from the home of a local platform.

    Args:
        address: host:port of the controller; None or empty: that of the home.
        token: None or empty: that of the home; with an address that has none, no token.
        home: folder of a local platform; None: ~/.tessera.

    Raises:
        FailedPreconditionError: NO_PLATFORM, where no address is given and the home has none.
    """
    folder = Path(home or DEFAULT).expanduser()
    return Access(
        address=address or _address(folder),
        token=token or _token(folder, required=not address),
    )


def _address(folder: Path) -> str:
    try:
        state = json.loads((folder / "state.json").read_text())
        address = str(state.get("controller") or "")
    except (OSError, ValueError, AttributeError):
        address = ""
    if not address:
        raise errors.FailedPreconditionError(
            f"no platform runs in {folder}; start one with `tessera up`, or name one with "
            "--home or --address",
            reason="NO_PLATFORM",
        )
    return address


def _token(folder: Path, *, required: bool) -> str:
    try:
        return (folder / "token").read_text().strip()
    except OSError:
        if not required:
            return ""
        raise errors.FailedPreconditionError(
            f"the token in {folder} cannot be read; only the user who started the platform can",
            reason="NO_PLATFORM",
        ) from None
