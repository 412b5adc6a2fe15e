"""The keys that sign tokens: a folder that only the controller's account reads.

next.pem ──(everybody knows it)──► signing.pem ──(the next rotation)──► previous.pem ──► gone
"""

from __future__ import annotations

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tessera import errors
from tessera.durable_file import PRIVATE, write_durably
from tessera.rpc.identity import Issuer

PUBLISHED_SECONDS = 60.0
"""A new key is made known for so long before it signs: several heartbeats of every server."""


class Keys:
    """Private keys in files, and which of them signs.

    Args:
        folder: theirs; the first key is made there where there is none.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with self._alone():
            if not self._path("signing").exists():
                write_durably(self._path("signing"), Issuer.generate_key(), mode=PRIVATE)
            self._load()

    @property
    def signer(self) -> Issuer:
        """What signs now."""
        self._advance()
        issuer = self._issuers["signing"]
        assert issuer is not None
        return issuer

    @property
    def public(self) -> list[str]:
        """What verifies tokens, PEM; the key that signs now comes first."""
        signer = self.signer  # First, for the keys change places where one is due.
        others = (self._issuers["next"], self._issuers["previous"])
        return [signer.public_key(), *(one.public_key() for one in others if one)]

    @property
    def sign_time(self) -> float | None:
        """When the next key begins to sign, in seconds since the epoch; None: there is none."""
        path = self._path("next")
        return path.stat().st_mtime + PUBLISHED_SECONDS if path.exists() else None

    def rotate(self) -> float:
        """Make the next key; returns when it begins to sign.

        Raises:
            FailedPreconditionError: one is on its way already (ROTATION_UNDER_WAY).
        """
        due = self.sign_time
        if due is not None and due > time.time():
            raise errors.FailedPreconditionError(
                "a new key is being made known already; it signs in a minute",
                reason="ROTATION_UNDER_WAY",
                retry_after=max(1.0, due - time.time()),
            )
        self._advance()
        write_durably(self._path("next"), Issuer.generate_key(), mode=PRIVATE)
        # Two are valid at once, and a third for as long as it is only made known.
        self._load()
        made = self.sign_time
        assert made is not None
        return made

    def look_again(self) -> None:
        """Read the keys again if another controller of the same home has changed them."""
        if self._stamp() != self._read_at:
            with self._alone():
                self._load()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """No other controller of the same home moves keys meanwhile."""
        with (self._folder / "lock").open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _stamp(self) -> list[tuple[str, int]]:
        """Which files there are, and of when."""
        return sorted((path.name, path.stat().st_mtime_ns) for path in self._folder.glob("*.pem"))

    def _advance(self) -> None:
        """Let the next key sign, if everybody knows it by now."""
        if (due := self.sign_time) is not None and due <= time.time():
            with self._alone():
                if (due := self.sign_time) is not None and due <= time.time():
                    self._path("signing").replace(self._path("previous"))
                    self._path("next").replace(self._path("signing"))
                self._load()

    def _load(self) -> None:
        self._read_at = self._stamp()
        self._issuers = {name: self._read(name) for name in ("next", "signing", "previous")}

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.pem"

    def _read(self, name: str) -> Issuer | None:
        path = self._path(name)
        return Issuer(path.read_bytes()) if path.exists() else None
