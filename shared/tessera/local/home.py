"""The folder that holds a platform: its layout, its secrets and its lock."""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tessera import errors
from tessera.durable_file import PRIVATE, write_durably
from tessera.rpc.identity import Issuer, Verifier
from tessera.rpc.principal import Principal, Role
from tessera.rpc.tls import given
from tessera.rpc.tls.authority import CERTIFICATE, FOLDER

_SIGN = "This folder belongs to a Tessera platform; `tessera down --purge` deletes it.\n"
_FOLDERS = ("keys", "blobs", "logs", "parameters", "cache", "secrets")
_FILES = (
    "lock",
    "state.json",
    "token",
    "ray-token",
    "ray",
    "ray.new",
    "controller.db",
    "controller.db-wal",
    "controller.db-shm",
    "controller.db-journal",
    "controller.db.leader",
)


@dataclass(frozen=True, slots=True)
class Home:
    """Paths of a platform's state directory."""

    path: Path

    @property
    def lock_path(self) -> Path:
        """Held by the supervisor as long as it lives; also the sign that this is a home."""
        return self.path / "lock"

    @property
    def state_path(self) -> Path:
        """What runs, and where."""
        return self.path / "state.json"

    @property
    def token_path(self) -> Path:
        """The user's token."""
        return self.path / "token"

    @property
    def key_path(self) -> Path:
        """The key that signs tokens."""
        return self.path / "keys" / "signing.pem"

    @property
    def secrets_path(self) -> Path:
        """Files that jobs get as secrets, a folder for each tenant; its user puts them there."""
        return self.path / "secrets"

    @property
    def ray_token_path(self) -> Path:
        """The token of the Ray cluster."""
        return self.path / "ray-token"

    @property
    def ray_path(self) -> Path:
        """Leads to the folder of the Ray cluster that runs now, which is another at each start."""
        return self.path / "ray"

    def ca_path(self, tls_dir: str) -> Path:
        """Whom to believe to be the controller: the platform's authority, or the one given."""
        return Path(tls_dir) / given.ROOTS if tls_dir else self.path / FOLDER / CERTIFICATE

    def lead_to_ray(self, folder: Path) -> None:
        """Let `ray_path` lead to a cluster's folder."""
        fresh = self.path / "ray.new"
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(folder)
        fresh.replace(self.ray_path)

    @property
    def exists(self) -> bool:
        """Whether it bears the sign of a home."""
        try:
            return self.lock_path.read_text() == _SIGN
        except OSError:
            return False

    def log_path(self, name: str) -> Path:
        """Log of a process that the supervisor starts."""
        return self.path / "logs" / f"{name}.log"

    def prepare(self, user: str) -> None:
        """Make what is missing: folders, the lock file, keys and tokens.

        Raises:
            FailedPreconditionError: the folder holds something else, or cannot be written.
        """
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            with _alone(self.path):
                self._fill(user)
        except OSError as error:
            raise errors.FailedPreconditionError(
                f"cannot use {self.path} as home: {error.strerror}; choose another with --home",
                reason="HOME_UNUSABLE",
            ) from error

    def _fill(self, user: str) -> None:
        if not self.exists:
            self._claim()
        for name in _FOLDERS:
            (self.path / name).mkdir(mode=0o700, exist_ok=True)
        if not self.key_path.exists():
            write_durably(self.key_path, Issuer.generate_key(), mode=PRIVATE)
            self.token_path.unlink(missing_ok=True)
        if not self._token_is_good():
            operator = Principal(subject=user, role=Role.OPERATOR)
            write_durably(
                self.token_path,
                Issuer(self.key_path.read_bytes()).issue(operator).encode(),
                mode=PRIVATE,
            )
        if not self.ray_token_path.exists():
            write_durably(self.ray_token_path, secrets.token_hex(32).encode(), mode=PRIVATE)

    def _token_is_good(self) -> bool:
        """Whether the user's token is there, and one that this build understands."""
        try:
            verifier = Verifier([Issuer(self.key_path.read_bytes()).public_key()])
            verifier.verify(self.token_path.read_text())
        except (FileNotFoundError, errors.UnauthenticatedError):
            return False
        return True

    @contextmanager
    def locked(self, patience: float = 2.0) -> Iterator[None]:
        """Hold the lock; `patience` (seconds) outlasts those who only look whether it is held.

        Raises:
            FailedPreconditionError: another process holds it.
        """
        deadline = time.monotonic() + patience
        with self.lock_path.open("r") as file:
            while not _try_lock(file):
                if time.monotonic() >= deadline:
                    raise errors.FailedPreconditionError(
                        f"a platform runs in {self.path} already", reason="HOME_LOCKED"
                    )
                time.sleep(0.05)
            yield

    @property
    def is_locked(self) -> bool:
        """Whether a supervisor lives here."""
        try:
            with self.lock_path.open("r") as file:
                return not _try_lock(file)
        except OSError:
            return False

    def purge(self) -> list[str]:
        """Delete what a platform made here; returns the names of what is left, which is others'.

        Raises:
            FailedPreconditionError: this is no home.
        """
        if not self.exists:
            raise errors.FailedPreconditionError(
                f"{self.path} is not the home of a Tessera platform; nothing was deleted",
                reason="NOT_A_HOME",
            )
        for name in (*_FOLDERS, FOLDER):
            shutil.rmtree(self.path / name, ignore_errors=True)
        for name in reversed(_FILES):
            (self.path / name).unlink(missing_ok=True)
        left = sorted(entry.name for entry in self.path.iterdir())
        if not left:
            self.path.rmdir()
        return left

    def _claim(self) -> None:
        if any(entry != self.lock_path for entry in self.path.iterdir()) or (
            self.lock_path.exists() and self.lock_path.read_text() not in _SIGN
        ):
            raise errors.FailedPreconditionError(
                f"{self.path} holds other files; choose an empty or new folder with --home",
                reason="HOME_NOT_EMPTY",
            )
        # Not replaced: a supervisor may hold it.
        descriptor = os.open(self.lock_path, os.O_WRONLY | os.O_CREAT, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(_SIGN)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One process at a time prepares a folder."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _try_lock(file: IO[str]) -> bool:
    """Lock an open file until it is closed, unless somebody else has."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
