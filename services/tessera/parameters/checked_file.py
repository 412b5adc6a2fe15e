"""Small files that tell by themselves whether they are what was written.

A line that names the format, the length and the checksum of the content, then the content.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import xxhash

from tessera import errors
from tessera.durable_file import write_durably


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
    # The names of what the file counts on must be durable before it is.
    write_durably(path, _head(kind, content), content, ordered=True)


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


def _head(kind: FileKind, content: bytes) -> bytes:
    return f"{kind.format} {len(content)} {xxhash.xxh3_64_hexdigest(content)}\n".encode()
