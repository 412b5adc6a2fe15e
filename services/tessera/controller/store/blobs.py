"""Files addressed by their content: verified, and whole or not there."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from tessera import errors
from tessera.durable_file import LEFT, DurableFile
from tessera.paths import below

CHUNK = 1024 * 1024
_DIGEST = re.compile(r"[0-9a-f]{64}")


class BlobStore:
    """A folder of blobs."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        for left in folder.glob(LEFT):
            left.unlink()

    def path(self, digest: str) -> Path:
        """Where a blob lies or would lie.

        Raises:
            InvalidArgumentError: that is no sha256 (INVALID_DIGEST).
        """
        if not _DIGEST.fullmatch(digest):
            raise errors.InvalidArgumentError(
                "digest: it must be the sha256 of the file, 64 hexadecimal digits",
                reason="INVALID_DIGEST",
                violations=[errors.Violation("digest", "must be 64 hexadecimal digits")],
            )
        return below(self._folder, digest)

    def size(self, digest: str) -> int:
        """Bytes of a blob.

        Raises:
            NotFoundError: it is not there (BLOB_NOT_FOUND).
        """
        path = self.path(digest)
        if not path.exists():
            raise errors.NotFoundError(f"there is no blob {digest}", reason="BLOB_NOT_FOUND")
        return path.stat().st_size

    def read(self, digest: str) -> Iterator[bytes]:
        """The bytes of a blob in chunks."""
        self.size(digest)
        with self.path(digest).open("rb") as file:
            while chunk := file.read(CHUNK):
                yield chunk

    def there(self, digest: str) -> bool:
        """Whether a blob lies there."""
        return self.path(digest).exists()

    def begin(self, digest: str, room: int) -> BlobWriter:
        """Start to write a blob of at most `room` bytes."""
        return BlobWriter(self.path(digest), room)

    def keep(self, digests: set[str], unused: float) -> None:
        """Drop every blob but these, unless it came within the last `unused` seconds."""
        for path in self._folder.iterdir():
            if _DIGEST.fullmatch(path.name) and path.name not in digests:
                with suppress(FileNotFoundError):
                    if time.time() - path.stat().st_mtime >= unused:
                        path.unlink()


class BlobWriter:
    """One upload; nothing is visible before `commit`.

    Args:
        path: where it will lie.
        room: bytes that it may have.
    """

    def __init__(self, path: Path, room: int) -> None:
        self._path = path
        self._room = room
        self._new = DurableFile(path)
        self._hash = hashlib.sha256()

    def write(self, data: bytes) -> None:
        """Add the next bytes.

        Raises:
            ResourceExhaustedError: they are more than there is room for (BLOB_TOO_LARGE).
        """
        self._room -= len(data)
        if self._room < 0:
            raise errors.ResourceExhaustedError(
                "the file is larger than one may be, or than what is left of the tenant's quota",
                reason="BLOB_TOO_LARGE",
            )
        self._hash.update(data)
        self._new.file.write(data)

    def commit(self) -> int:
        """Verify, make durable and show the blob; returns its size.

        Raises:
            DataLossError: the bytes are not those of the digest (DIGEST_MISMATCH).
        """
        found = self._hash.hexdigest()
        if found != self._path.name:
            self.abort()
            raise errors.DataLossError(
                f"what arrived has digest {found}, not {self._path.name}; send it again",
                reason="DIGEST_MISMATCH",
            )
        return self._new.commit()

    def abort(self) -> None:
        """Give the upload up."""
        self._new.abort()
