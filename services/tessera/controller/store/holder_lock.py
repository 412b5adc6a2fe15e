"""A lock on a file beside an SQLite database: it is free once its holder is dead.

A lease runs out seconds after its holder was killed. Where all controllers are on one machine its
kernel knows at once.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import sqlalchemy as sa


class HolderLock:
    """The lock of one process.

    Args:
        url: of the database; there is no lock for one that is no file.
    """

    def __init__(self, url: sa.URL) -> None:
        file = url.database if url.get_backend_name() == "sqlite" else None
        self._path = Path(f"{file}.leader") if file and file != ":memory:" else None
        self._held: int | None = None

    @property
    def held(self) -> bool:
        """Whether this process has it."""
        return self._held is not None

    def acquire(self) -> bool:
        """Have the lock; False: another process that lives has it, or there is none."""
        if self._path is None or self.held:
            return self.held
        found = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(found, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(found)
            return False
        self._held = found
        return True

    def release(self) -> None:
        """Let others have it."""
        if self._held is not None:
            os.close(self._held)
            self._held = None
