"""What a disk does that is no defect of ours."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tessera import errors

FULL = "DISK_FULL"
"""Reason of what is refused because a disk is full."""

SLACK_BYTES = 1024 * 1024
"""With less than that free a database says of many things that they cannot be done."""


def free_bytes(path: Path) -> int:
    """Bytes that may still be written below a folder."""
    found = os.statvfs(path)
    return found.f_bavail * found.f_frsize


def disk_full(whose: str) -> errors.ResourceExhaustedError:
    """The refusal of what finds no room: nothing is lost, and it goes on when there is room."""
    return errors.ResourceExhaustedError(
        f"the {whose}'s disk is full; free some space, or lower the disk cap",
        reason=FULL,
        retry_after=10.0,
    )


@contextmanager
def disk_errors() -> Iterator[None]:
    """A full disk is the platform's state, not a defect."""
    try:
        yield
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise disk_full("shard") from None
        raise


@contextmanager
def database_errors(path: Path) -> Iterator[None]:
    """The same of the coordinator's file, which tells it in several ways."""
    try:
        yield
    except sqlite3.OperationalError as error:
        full = error.sqlite_errorcode == sqlite3.SQLITE_FULL
        broken = error.sqlite_errorcode & 0xFF in {sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN}
        if full or (broken and free_bytes(path.parent) < SLACK_BYTES):
            raise disk_full("coordinator") from None
        raise
