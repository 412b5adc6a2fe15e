"""A piece as a file: mapped, read in place, and held against its checksums once."""

from __future__ import annotations

import mmap
import threading
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import xxhash

from tessera import errors
from tessera.weights.manifest import SliceSpec
from tessera.weights.strided import Bytes


class SliceFile:
    """The slices of one group that one rank pushed.

    Args:
        path: its file.
        group: of its tensors.
        slices: what lies in it.
        verified: whether the bytes have been checked since this process started.
    """

    def __init__(
        self, path: Path, group: str, slices: Iterable[SliceSpec], *, verified: bool
    ) -> None:
        self.path = path
        self.group = group
        self.slices = {source.offset: source for source in slices}
        self.size = sum(source.size for source in self.slices.values())
        self._unverified = set() if verified else set(self.slices)
        self._lock = threading.Lock()
        self._bytes: Bytes | None = None

    def read(self, offset: int) -> tuple[SliceSpec, Bytes]:
        """A slice and its bytes: a view of the page cache, valid even if the file is removed.

        Raises:
            InvalidArgumentError: no slice begins there (reason SLICE_NOT_FOUND).
            DataLossError: the bytes on disk were damaged (reason CHECKSUM_MISMATCH).
        """
        source = self.slices.get(offset)
        if source is None:
            raise errors.InvalidArgumentError(
                f"no slice of piece {self.path.stem} begins at {offset}", reason="SLICE_NOT_FOUND"
            )
        data = self._mapped()[offset : offset + source.size]
        if offset in self._unverified:
            # Bytes that a killed process left behind are not trusted until they are read once.
            if xxhash.xxh3_64_intdigest(data.data) != source.checksum:
                raise errors.DataLossError(
                    f"slice at {offset} of {self.path.name} does not match its checksum: the disk"
                    " is damaged; read another version",
                    reason="CHECKSUM_MISMATCH",
                )
            self._unverified.discard(offset)
        return source, data

    def _mapped(self) -> Bytes:
        with self._lock:
            if self._bytes is None:
                try:
                    with self.path.open("rb") as file:
                        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
                except FileNotFoundError:
                    raise errors.NotFoundError(
                        f"piece {self.path.stem} was dropped", reason="PIECE_NOT_FOUND"
                    ) from None
                self._bytes = np.frombuffer(mapped, np.uint8)
            return self._bytes
