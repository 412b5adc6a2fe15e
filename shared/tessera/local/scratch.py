"""Room that Ray takes on this machine: a folder for its files, and shared memory."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from tessera import errors

OBJECT_STORE_BYTES = 256 * 1024 * 1024
"""Of Ray's object store; nothing large of ours goes through it."""

_SHARED_MEMORY = "/dev/shm"  # noqa: S108 - the system's
_SOCKET_BYTES = 107
"""Longest name of a local socket (AF_UNIX)."""

_SESSION_BYTES = len("/r/session_2026-01-01_00-00-00_000000_0000000/sockets/plasma_store.0")


def small_shared_memory() -> str:
    """A sentence where Ray cannot keep its objects in shared memory; empty where it can."""
    try:
        free = shutil.disk_usage(_SHARED_MEMORY).free
    except OSError:
        return ""
    if free >= OBJECT_STORE_BYTES:
        return ""
    return (
        f"{_SHARED_MEMORY} has {free >> 20} MiB left of the {OBJECT_STORE_BYTES >> 20} that Ray "
        "wants: it keeps its objects on disk, which is slower (in a container: --shm-size=1g)"
    )


def temp_dir() -> Path:
    """A new folder of mode 0700 with a short name, so not below the home: sockets are in it.

    Ray opens the folder that it is given to everybody (mode 0777), so it gets `ray_dir` inside of
    this one, where nobody else comes.

    Raises:
        UnavailableError: TEMP_DIR_UNUSABLE.
    """
    base = "/tmp" if os.access("/tmp", os.W_OK) else None  # noqa: S108 - mkdtemp makes it ours
    try:
        made = tempfile.mkdtemp(prefix="tessera-", dir=base)
    except OSError as error:
        raise errors.UnavailableError(
            f"Ray needs a folder for its files: {error}; set TMPDIR to one that can be written",
            reason="TEMP_DIR_UNUSABLE",
        ) from error
    if len(os.fsencode(made)) + _SESSION_BYTES > _SOCKET_BYTES:
        Path(made).rmdir()
        raise errors.UnavailableError(
            f"Ray's sockets cannot have names as long as below {made}; set TMPDIR to a folder "
            f"with at most {_SOCKET_BYTES - _SESSION_BYTES - len('/tessera-12345678')} letters",
            reason="TEMP_DIR_UNUSABLE",
        )
    return Path(made)


def ray_dir(temp: Path) -> Path:
    """What Ray gets of a `temp_dir`; one letter, for the sockets' sake."""
    return temp / "r"
