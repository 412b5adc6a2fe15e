"""A vault on a folder of this node: files are synced and renamed, links are hard links."""

from __future__ import annotations

import os
import secrets
import shutil
import threading
from pathlib import Path

import numpy as np
import structlog

from tessera.durable_file import LEFT, PRIVATE, make_folders, write_durably
from tessera.parameters.disk import free_bytes
from tessera.parameters.vault import OWNER
from tessera.paths import below, is_name
from tessera.weights.strided import Bytes

log = structlog.get_logger()

_PART = ".tmp"
"""How the name of a file ends that is not in its place yet."""


class LocalVault:
    """The files below a folder that is this process's alone.

    Args:
        root: the folder, which is made if need be; what killed processes left in it is removed now.
    """

    has_descriptors = True

    def __init__(self, root: Path) -> None:
        self._root = root
        root.mkdir(parents=True, exist_ok=True)
        for pattern in (LEFT, f"*/*/{LEFT}", f"*/*/*/*{_PART}"):
            for left in root.glob(pattern):
                log.info("removed what a killed process left", path=left.name)
                left.unlink(missing_ok=True)

    @property
    def free_bytes(self) -> int:
        """Bytes that may still be written."""
        return free_bytes(self._root)

    def path(self, name: str) -> Path:
        """Where a file or folder lies.

        Raises:
            InvalidArgumentError: that would not be below the root (INVALID_NAME).
        """
        return self._root / OWNER if name == OWNER else below(self._root, *name.split("/"))

    def folders(self, folder: str = "") -> list[str]:
        """Names of the folders in a folder, sorted; empty: in the vault. Of none: nothing."""
        path = self.path(folder) if folder else self._root
        return [entry.name for entry in _entries(path) if entry.is_dir()]

    def files(self, folder: str) -> list[str]:
        """Names of the files in a folder, sorted. Of none: nothing."""
        return [
            entry.name
            for entry in _entries(self.path(folder))
            if entry.is_file() and not entry.name.endswith(_PART)
        ]

    def make_folder(self, folder: str) -> None:
        """Make a folder, and those that it is in, durably; it may be there."""
        make_folders(self.path(folder), self._root)

    def remove_folder(self, folder: str) -> None:
        """Remove a folder and what is in it, as far as that can be; it may be gone."""
        shutil.rmtree(self.path(folder), ignore_errors=True)

    def read(self, name: str) -> bytes:
        """All of a small file."""
        return self.path(name).read_bytes()

    def replace(self, name: str, *content: bytes) -> None:
        """Put a small file in its place, durably, after what was committed to its folder."""
        write_durably(self.path(name), *content, ordered=True)

    def create(self, name: str) -> LocalNewFile:
        """Begin a file; nothing is made before something is written. Its folder is, if need be."""
        return LocalNewFile(self.path(name), self._part(name))

    def link(self, source: str, name: str) -> LocalNewFile:
        """Begin a file with the bytes of one that is there; there are file systems that cannot."""
        earlier, place, part = self.path(source), self.path(name), self._part(name)
        part.parent.mkdir(parents=True, exist_ok=True)
        os.link(earlier, part)
        return LocalNewFile(place, part, made=True)

    def open(self, name: str) -> LocalOpenFile:
        """A file for reading, the caller's to close."""
        return LocalOpenFile(self.path(name))

    def descriptor(self, name: str) -> int:
        """A descriptor of a file for reading, the caller's to close."""
        return os.open(self.path(name), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)

    def rename(self, name: str, other: str) -> None:
        """Give a file another name."""
        self.path(name).rename(self.path(other))

    def remove(self, name: str) -> None:
        """Remove a file; it may be gone."""
        self.path(name).unlink(missing_ok=True)

    def _part(self, name: str) -> Path:
        """Beside the place of a file, where it is written."""
        return self.path(f"{name}.{secrets.token_hex(4)}{_PART}")


class LocalNewFile:
    """A file that is written beside its place.

    Args:
        place: its path.
        part: its path until it is committed.
        made: it is there already.
    """

    def __init__(self, place: Path, part: Path, *, made: bool = False) -> None:
        self._place = place
        self._part = part
        self._made = made
        self._lock = threading.Lock()
        self._descriptor: int | None = None

    def write_at(self, data: Bytes, position: int) -> None:
        """Put bytes at a place of it."""
        file, rest = self._opened(), np.ascontiguousarray(data).data
        while rest:
            written = os.pwrite(file, rest, position)
            rest, position = rest[written:], position + written

    def sync(self) -> None:
        """Return when what was written is durable."""
        os.fsync(self._opened())

    def commit(self) -> None:
        """Put it in its place; its name is durable when its folder is synced."""
        self._close()
        self._part.rename(self._place)
        self._made = False

    def discard(self) -> None:
        """Leave nothing of it; once it is in its place it stays there."""
        self._close()
        if self._made:
            self._part.unlink(missing_ok=True)
            self._made = False

    def open(self) -> LocalOpenFile:
        """What is in it, for reading."""
        return LocalOpenFile(self._part)

    def _opened(self) -> int:
        # Whichever thread writes first.
        with self._lock:
            if self._descriptor is None:
                self._part.parent.mkdir(parents=True, exist_ok=True)
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
                self._descriptor = os.open(self._part, flags, PRIVATE)
                self._made = True
            return self._descriptor

    def _close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


class LocalOpenFile:
    """A file that is open for reading.

    Args:
        path: of it.
    """

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    @property
    def size(self) -> int:
        """Bytes of it."""
        return os.fstat(self._descriptor).st_size

    def read_into(self, buffer: Bytes, position: int) -> int:
        """Fill a buffer from a place of it on; returns how many bytes, 0 at its end."""
        return os.preadv(self._descriptor, [buffer.data], position)

    def close(self) -> None:
        """Read no more."""
        os.close(self._descriptor)


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """What is in a folder and has a name that may be one: the rest is not the vault's."""
    try:
        with os.scandir(folder) as entries:
            named = [entry for entry in entries if is_name(entry.name)]
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return []
    return sorted(named, key=lambda entry: entry.name)
