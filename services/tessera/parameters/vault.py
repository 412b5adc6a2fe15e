"""What a shard keeps its bytes in: files by name, each whole and durable, or not there. Pure.

A name is relative to the vault, `tenant/set/version/file`; one that could lead elsewhere is refused
(INVALID_NAME). What the files mean is for those who keep them: a vault knows names and bytes. Every
method raises OSError where the vault cannot, FileNotFoundError where there is no such file, and may
be called by any thread.
"""

from __future__ import annotations

from typing import Protocol

from tessera.weights.strided import Bytes

OWNER = ".store"
"""The file that says whose the vault is: the one name that no tenant and no set can have."""


class NewFile(Protocol):
    """A file that is being written; whoever lists or opens files does not see it."""

    def write_at(self, data: Bytes, position: int) -> None:
        """Put bytes at a place of it. Several threads may at once, at places of their own."""

    def sync(self) -> None:
        """Return when what was written is durable."""

    def commit(self) -> None:
        """Put it in its place, where it replaces what was there; everything is synced before.

        Its name is durable when the next `Vault.replace` in its folder is, and not later.
        """

    def discard(self) -> None:
        """Leave nothing of it; once it is in its place it stays there."""


class LinkedFile(NewFile, Protocol):
    """Another name of a file; its bytes are durable already."""

    def open(self) -> VaultFile:
        """Its bytes for reading, before it is in its place, and whatever became of the other."""


class VaultFile(Protocol):
    """A file that is open; it can be read on even if it is removed."""

    @property
    def size(self) -> int:
        """Bytes of it."""

    def read_into(self, buffer: Bytes, position: int) -> int:
        """Fill a buffer from a place of it on; returns how many bytes, 0 at its end."""

    def close(self) -> None:
        """Read no more."""


class Vault(Protocol):
    """Files of one shard."""

    @property
    def has_descriptors(self) -> bool:
        """Whether processes of this host can be handed its files."""

    @property
    def free_bytes(self) -> int:
        """Bytes that may still be written."""

    def folders(self, folder: str = "") -> list[str]:
        """Names of the folders in a folder, sorted; empty: in the vault. Of none: nothing."""

    def files(self, folder: str) -> list[str]:
        """Names of the files in a folder, sorted. Of none: nothing."""

    def make_folder(self, folder: str) -> None:
        """Make a folder, and those that it is in, durably; it may be there."""

    def remove_folder(self, folder: str) -> None:
        """Remove a folder and what is in it, as far as that can be; it may be gone."""

    def read(self, name: str) -> bytes:
        """All of a small file."""

    def replace(self, name: str, *content: bytes) -> None:
        """Put a small file into a folder that is there, durably; its content comes in parts.

        What was committed to its folder before is durable before it is: who finds this file after a
        power cut finds that.
        """

    def create(self, name: str) -> NewFile:
        """Begin a file; nothing is made before something is written. Its folder is, if need be."""

    def link(self, source: str, name: str) -> LinkedFile:
        """Begin a file with the bytes of one that is there. There are vaults that cannot."""

    def open(self, name: str) -> VaultFile:
        """A file for reading, the caller's to close."""

    def descriptor(self, name: str) -> int:
        """A descriptor of a file for reading, the caller's to close, of a vault that has them."""

    def rename(self, name: str, other: str) -> None:
        """Give a file another name."""

    def remove(self, name: str) -> None:
        """Remove a file; it may be gone."""
