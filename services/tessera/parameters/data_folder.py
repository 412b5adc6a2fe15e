"""The folder that a node keeps its data in: one process at a time has it."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from tessera import errors

LOCK = ".lock"
"""No tenant has such a name."""


class DataFolder:
    """A folder that is this process's alone until it is closed, or the process ends.

    Args:
        path: which; it is made if need be.

    Raises:
        FailedPreconditionError: another process has it (DATA_FOLDER_IN_USE).
    """

    def __init__(self, path: Path) -> None:
        path.mkdir(parents=True, exist_ok=True)
        self._descriptor = os.open(path / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._descriptor)
            raise errors.FailedPreconditionError(
                f"{path} is in use by another process: end that one, or give this one a folder of"
                " its own",
                reason="DATA_FOLDER_IN_USE",
            ) from None

    def close(self) -> None:
        """Let others have it."""
        os.close(self._descriptor)
