"""Room on a disk that is kept for giving room back: to forget a version is to write first."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from tessera import errors
from tessera.parameters.disk import FULL

T = TypeVar("T")

RESERVE_BYTES = 8 * 1024 * 1024
NAME = ".reserve"


class Reserve:
    """A file of a node's folder that is given up when the disk is full, and made again later.

    Args:
        folder: of the node.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME
        self._lock = threading.Lock()

    def make(self) -> None:
        """Take the room, if it is not taken and there is any."""
        with self._lock:
            with contextlib.suppress(OSError):
                if self._path.stat().st_size == RESERVE_BYTES:
                    return
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT, 0o600)
            try:
                if hasattr(os, "posix_fallocate"):
                    os.posix_fallocate(descriptor, 0, RESERVE_BYTES)
                else:
                    os.pwrite(descriptor, bytes(RESERVE_BYTES), 0)
            except OSError:
                self._path.unlink(missing_ok=True)
            finally:
                os.close(descriptor)

    def spend(self, work: Callable[[], T]) -> T:
        """Do what will give room back, if need be in the reserve's.

        Raises:
            ResourceExhaustedError: there is none either (DISK_FULL).
        """
        try:
            return work()
        except errors.ResourceExhaustedError as error:
            if error.reason != FULL:
                raise
            with self._lock:
                self._path.unlink(missing_ok=True)
            return work()
