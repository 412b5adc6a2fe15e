"""Small files that tell by themselves whether they are what was written.

A line that names the format, the length and the checksum of the content, then the content.
"""

from __future__ import annotations

from dataclasses import dataclass

import xxhash

from tessera import errors
from tessera.parameters.vault import Vault


@dataclass(frozen=True, slots=True)
class FileKind:
    """A kind of file: the name of its format, what people call it, and the reason of its damage."""

    format: str
    text: str
    reason: str

    def damaged(self, name: str) -> errors.DataLossError:
        """What is said of a file of this kind that is not what was written."""
        text = f"the {self.text} {'/'.join(name.split('/')[-2:])} is damaged"
        return errors.DataLossError(text, reason=self.reason)


def write_checked(vault: Vault, name: str, kind: FileKind, content: bytes) -> None:
    """Put a file in its place, durably; what was in the folder before is durable then, too."""
    vault.replace(name, _head(kind, content), content)


def read_checked(vault: Vault, name: str, kind: FileKind) -> bytes:
    """The content of a file.

    Raises:
        FileNotFoundError: there is none.
        DataLossError: it is not what was written, or cannot be read.
    """
    try:
        head, _, content = vault.read(name).partition(b"\n")
    except FileNotFoundError:
        raise
    except OSError:
        raise kind.damaged(name) from None
    if head + b"\n" != _head(kind, content):
        raise kind.damaged(name)
    return content


def _head(kind: FileKind, content: bytes) -> bytes:
    return f"{kind.format} {len(content)} {xxhash.xxh3_64_hexdigest(content)}\n".encode()
