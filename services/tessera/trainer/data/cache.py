"""Folders on this host by the digest of what they were made of: built once, used by many.

    ROOT/KEY        a finished folder; its time of change is when it was last used
    ROOT/KEY.part   being built, under the exclusive lock; whoever gets the lock next removes it
    ROOT/KEY.lock   held shared by every process that uses the folder, for as long as it lives

The kernel gives locks back when a process dies, however it dies.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tessera import errors

LIMIT_BYTES = 16 << 30
"""What a host keeps at most, unless more is in use; no more than a quarter of the disk."""

_AGAIN_SECONDS = 0.02

_held: dict[Path, int] = {}
"""Descriptor of the lock of each folder that this process uses."""


def private_folder(name: str) -> Path:
    """A folder of this user's among the temporary files, which nobody else may read or write.

    Raises:
        FailedPreconditionError: CACHE_NOT_PRIVATE.
    """
    root = Path(tempfile.gettempdir()) / f"tessera-data-{os.getuid()}"
    root.mkdir(mode=0o700, exist_ok=True)
    found = root.lstat()
    if found.st_uid != os.getuid() or found.st_mode & 0o077 or root.is_symlink():
        raise errors.FailedPreconditionError(
            f"{root} is not this user's alone; remove it, or set TMPDIR to another folder",
            reason="CACHE_NOT_PRIVATE",
        )
    folder = root / name
    folder.mkdir(exist_ok=True)
    return folder


def cached(
    root: Path, key: str, build: Callable[[Path], None], limit_bytes: int | None = None
) -> Path:
    """The folder of a key, built if it is not there; it stays for as long as this process lives.

    Args:
        root: holds the folders; must exist.
        key: digest of everything that the content depends on.
        build: makes the folder that it is given, and what belongs into it.
        limit_bytes: the least recently used folders beyond it go, unless a process uses them;
            None: what a host keeps.
    """
    folder = root / key
    while folder not in _held:
        lock = _locked(folder, fcntl.LOCK_SH)
        if lock is not None:
            if folder.is_dir():
                _held[folder] = lock
                break
            os.close(lock)
        with _exclusive(folder) as alone:
            if alone and not folder.is_dir():
                _build(folder, build)
                _evict(root, _limit(root) if limit_bytes is None else limit_bytes)
        if not alone:
            time.sleep(_AGAIN_SECONDS)
    os.utime(folder)
    return folder


def _build(folder: Path, build: Callable[[Path], None]) -> None:
    part = folder.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)
    try:
        build(part)
        # A folder that has its name is whole, even if the machine stops right now.
        for path in part.rglob("*"):
            if path.is_file():
                with path.open("rb") as file:
                    os.fsync(file.fileno())
        part.rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _limit(root: Path) -> int:
    return min(LIMIT_BYTES, shutil.disk_usage(root).total // 4)


def _evict(root: Path, limit_bytes: int) -> None:
    with _exclusive(root / "evict") as alone:
        if not alone:
            return
        for part in root.glob("*.part"):
            _remove(part)
        folders = [path for path in root.iterdir() if path.is_dir() and path.suffix != ".part"]
        sizes = {path: _size(path) for path in folders}
        total = sum(sizes.values())
        for path in sorted(folders, key=lambda path: path.stat().st_mtime):
            if total <= limit_bytes:
                break
            if _remove(path):
                total -= sizes[path]


def _remove(path: Path) -> bool:
    """Delete a folder, or what is left of building it, unless a process holds its lock."""
    with _exclusive(path) as alone:
        if alone:
            # What has its name stays whole, even if this process dies right now.
            part = path.with_suffix(".part")
            if path != part and path.is_dir():
                shutil.rmtree(part, ignore_errors=True)
                path.rename(part)
            shutil.rmtree(part, ignore_errors=True)
            _lock_path(path).unlink(missing_ok=True)
        return alone


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


@contextmanager
def _exclusive(folder: Path) -> Iterator[bool]:
    """Hold the lock of a folder alone; False: others have it, or it was removed meanwhile.

    It never waits: whoever uses a folder keeps it from others for as long as it lives.
    """
    lock = _locked(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    try:
        yield lock is not None
    finally:
        if lock is not None:
            os.close(lock)


def _locked(folder: Path, mode: int) -> int | None:
    """A descriptor that holds the lock; None if it could not be had, or is one no longer."""
    path = _lock_path(folder)
    lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, mode)
        # Who waited for a lock that was removed holds one that nobody else will ever see.
        if os.fstat(lock).st_ino == path.stat().st_ino:
            return lock
    except (BlockingIOError, FileNotFoundError):
        pass
    os.close(lock)
    return None


def _lock_path(folder: Path) -> Path:
    return folder.with_suffix(".lock")
