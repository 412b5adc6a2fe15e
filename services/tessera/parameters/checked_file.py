"""Small files that tell by themselves whether they are what was written.

A line that names the format, the length and the checksum of the content, then the content.
"""

from __future__ import annotations

import os
import uuid
from dataclasses import dataclass
from pathlib import Path

import xxhash

from tessera import errors


@dataclass(frozen=True, slots=True)
class FileKind:
    """A kind of file: the name of its format, what people call it, and the reason of its damage."""

    format: str
    text: str
    reason: str

    def damaged(self, path: Path) -> errors.DataLossError:
        """What is said of a file of this kind that is not what was written."""
        text = f"the {self.text} {path.parent.name}/{path.name} is damaged"
        return errors.DataLossError(text, reason=self.reason)


def write_checked(path: Path, kind: FileKind, content: bytes) -> None:
    """Put a file in its place, durably; what was in the folder before is durable then, too."""
    # Of its own: two may write the same file at the same time, and either may come last.
    temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    with temporary.open("wb") as file:
        file.write(_head(kind, content))
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    # The names of what the file counts on must be durable before it is.
    sync_folder(path.parent)
    temporary.rename(path)
    sync_folder(path.parent)


def read_checked(path: Path, kind: FileKind) -> bytes:
    """The content of a file.

    Raises:
        FileNotFoundError: there is none.
        DataLossError: it is not what was written, or cannot be read.
    """
    try:
        head, _, content = path.read_bytes().partition(b"\n")
    except FileNotFoundError:
        raise
    except OSError:
        raise kind.damaged(path) from None
    if head + b"\n" != _head(kind, content):
        raise kind.damaged(path)
    return content


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


def _head(kind: FileKind, content: bytes) -> bytes:
    return f"{kind.format} {len(content)} {xxhash.xxh3_64_hexdigest(content)}\n".encode()
