"""Files that are in their place whole or not at all, whatever ends the process or the machine.

They are written beside their place, `.NAME.RANDOM.tmp`, made durable, and renamed; then the name is
made durable. What a killed process leaves is such a file, which nobody reads.
"""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import Self

LEFT = ".*.tmp"
"""A pattern of what killed processes left in a folder."""

PRIVATE = 0o600
"""Mode of a file for its owner's eyes only."""

_USUAL = 0o666
"""What the umask leaves of it."""


class DurableFile:
    """A file to be written part by part; `commit` shows it, and else nothing is there.

    Args:
        path: where it will lie; what lies there stays until then.
        mode: of the file, from its first byte on.

    Attributes:
        file: what is written to.

    Raises:
        OSError: it cannot be written there.
    """

    def __init__(self, path: Path, mode: int = _USUAL) -> None:
        self._path = path
        self._part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        self.file = os.fdopen(os.open(self._part, flags, mode), "wb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.abort()

    def commit(self, *, ordered: bool = False) -> int:
        """Put it in its place, durably; returns its size.

        Args:
            ordered: what was put into the folder before is durable before this file is.

        Raises:
            OSError: it may not be there, or not durably.
        """
        self.file.flush()
        os.fsync(self.file.fileno())
        size = self.file.tell()
        self.file.close()
        if ordered:
            sync_folder(self._path.parent)
        self._part.rename(self._path)
        sync_folder(self._path.parent)
        return size

    def abort(self) -> None:
        """Give it up; nothing after a commit."""
        with suppress(OSError):  # What is still to be written may not have a place.
            self.file.close()
        self._part.unlink(missing_ok=True)


def write_durably(path: Path, *content: bytes, mode: int = _USUAL, ordered: bool = False) -> None:
    """Replace a file by one with a content.

    Args:
        path: of the file.
        content: its parts, one behind the other.
        mode: of the file, from its first byte on.
        ordered: what was put into the folder before is durable before this file is.

    Raises:
        OSError: it may not be there, or not durably.
    """
    with DurableFile(path, mode) as new:
        new.file.writelines(content)
        new.commit(ordered=ordered)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folders(folder: Path, root: Path) -> None:
    """Make a folder below a root whose name survives a power cut."""
    folder.mkdir(parents=True, exist_ok=True)
    while folder != root:
        folder = folder.parent
        sync_folder(folder)
