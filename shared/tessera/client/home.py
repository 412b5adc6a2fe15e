"""Where a platform on this machine listens, and its user's token: what its home says."""

from __future__ import annotations

import json
import os
import pwd
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tessera import errors
from tessera.rpc.credentials import OidcCredentials
from tessera.rpc.tls.roots import read_roots
from tessera.rpc.token import Token

DEFAULT = "~/.tessera"


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """The controller's host:port and a token.

    `roots` are whom to believe to be the controller, PEM; empty: it is called in clear.
    """

    address: str
    token: Token
    roots: bytes = b""


def find(
    address: str | None,
    token: str | None,
    home: str | Path | None,
    *,
    ca: str | Path | None = None,
    oidc: Callable[[], str] | None = None,
) -> Access:
    """Fill in what is not given from the home of a local platform.

    Args:
        address: host:port of the controller; None or empty: that of the home.
        token: None or empty: that of the home; with an address that has none, no token.
        home: folder of a local platform; None: ~/.tessera.
        ca: file of certificates, one of which signs the controller's; None or empty: that of the
            home, for the address that is there.
        oidc: gives a token of an OIDC issuer, which is exchanged for one; None: nothing is.

    Raises:
        FailedPreconditionError: NO_PLATFORM, where no address is given and the home has none;
            HOME_UNUSABLE; CA_UNUSABLE, where `ca` cannot be read, or is none.
    """
    roots = read_roots(ca) if ca else b""
    if oidc is not None and not token:
        where = address or _address(folder_of(home))
        roots = roots or _roots_of(home, where)
        return Access(address=where, token=OidcCredentials(where, oidc, roots), roots=roots)
    if address:
        roots = roots or _roots_of(home, address)
        return Access(address=address, token=token or _token(home), roots=roots)
    folder = folder_of(home)
    check_readable(folder)
    address = _address(folder)
    return Access(
        address=address,
        token=token or _token(folder, required=True),
        roots=roots or _roots_of(folder, address),
    )


def folder_of(home: str | Path | None) -> Path:
    """The folder that is meant, as an absolute path.

    Raises:
        FailedPreconditionError: HOME_UNUSABLE: it begins with `~`, and this user has no home.
    """
    try:
        return Path(home or DEFAULT).expanduser().absolute()
    except RuntimeError:
        raise errors.FailedPreconditionError(
            f"{home or DEFAULT}: this user has no home folder; name another with --home",
            reason="HOME_UNUSABLE",
        ) from None


def check_readable(folder: Path) -> None:
    """Whether this user may read the home of a platform, if there is one.

    Raises:
        FailedPreconditionError: HOME_UNUSABLE: it is another user's, or cannot be read.
    """
    for path in (folder, folder / "lock", folder / "state.json", folder / "token"):
        try:
            owner = path.stat().st_uid
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise _unusable(path, error.strerror or str(error)) from None
        if not os.access(path, os.R_OK | os.X_OK if path.is_dir() else os.R_OK):
            whose = f"it belongs to {_name(owner)}" if owner != os.geteuid() else "its mode forbids"
            raise _unusable(path, whose)


def _unusable(path: Path, why: str) -> errors.FailedPreconditionError:
    return errors.FailedPreconditionError(
        f"{path} cannot be read: {why}; name a folder of your own with --home",
        reason="HOME_UNUSABLE",
    )


def _name(number: int) -> str:
    try:
        return f"the user {pwd.getpwuid(number).pw_name}"
    except KeyError:
        return f"the user with the number {number}"


def _roots_of(home: str | Path | None, address: str) -> bytes:
    """Whom a home says to believe at an address; empty: it says nothing of it."""
    try:
        folder = folder_of(home)
    except errors.FailedPreconditionError:
        return b""
    file = _state(folder, "ca")
    return read_roots(file) if file and _state(folder, "controller") == address else b""


def _state(folder: Path, key: str) -> str:
    try:
        return str(json.loads((folder / "state.json").read_text()).get(key) or "")
    except (OSError, ValueError, AttributeError):
        return ""


def _address(folder: Path) -> str:
    address = _state(folder, "controller")
    if not address:
        raise errors.FailedPreconditionError(
            f"no platform runs in {folder}; start one with `tessera up`, or name one with "
            "--home or --address",
            reason="NO_PLATFORM",
        )
    return address


def _token(home: str | Path | None, *, required: bool = False) -> str:
    try:
        return (folder_of(home) / "token").read_text().strip()
    except (OSError, errors.FailedPreconditionError):
        if not required:
            return ""
        raise errors.FailedPreconditionError(
            f"the token in {home} cannot be read; only the user who started the platform can",
            reason="NO_PLATFORM",
        ) from None
