"""A piece as a file: read block by block, and each block held against its checksum."""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from tessera import errors
from tessera.parameters.vault import LinkedFile, Vault, VaultFile
from tessera.weights.blocks import is_whole
from tessera.weights.manifest import SliceSpec
from tessera.weights.strided import Bytes


def file_of(piece: str) -> str:
    """What the file of a piece is called in the folder of its version."""
    return f"{piece}.bin"


class SliceFile:
    """The slices of one group that one rank pushed.

    Args:
        vault: that its file is in.
        folder: of its version.
        name: of the piece.
        group: of its tensors.
        slices: what lies in it.

    Attributes:
        file_name: of its file in that folder.
        file: the same in the vault.
    """

    def __init__(
        self, vault: Vault, folder: str, name: str, group: str, slices: Iterable[SliceSpec]
    ) -> None:
        self._vault = vault
        self.file_name = file_of(name)
        self.file = f"{folder}/{self.file_name}"
        self.name = name
        self.group = group
        self.slices = {source.offset: source for source in slices}
        self.size = sum(source.size for source in self.slices.values())

    def slice(self, offset: int) -> SliceSpec:
        """The slice that begins there.

        Raises:
            InvalidArgumentError: there is none (reason SLICE_NOT_FOUND).
        """
        source = self.slices.get(offset)
        if source is None:
            raise errors.InvalidArgumentError(
                f"no slice of piece {self.name} begins at {offset}", reason="SLICE_NOT_FOUND"
            )
        return source

    @contextmanager
    def opened(self, link: LinkedFile | None = None) -> Iterator[OpenSliceFile]:
        """The file for reading; what is open can be read even if it is removed.

        Args:
            link: another name of it, by which it is opened even if it was removed before.

        Raises:
            DataLossError: it is not there (PIECE_LOST), or cannot be read (READ_FAILED).
        """
        try:
            file = self._vault.open(self.file) if link is None else link.open()
        except FileNotFoundError:
            raise errors.DataLossError(
                f"the disk has lost {self.file_name} of {self.group}; read another version",
                reason="PIECE_LOST",
                metadata={"group": self.group},
            ) from None
        except OSError as error:
            raise self._unreadable(error) from None
        try:
            yield OpenSliceFile(self, file)
        finally:
            file.close()

    def descriptor(self) -> int:
        """A descriptor of the file, the caller's to close.

        Raises:
            OSError: it is not there, or cannot be handed over.
        """
        return self._vault.descriptor(self.file)

    def check(self) -> None:
        """Look whether the file is there, and as long as it should be.

        Raises:
            DataLossError: it is not (PIECE_LOST, SHORT_FILE or READ_FAILED).
        """
        with self.opened() as file:
            found = file.size
        needed = max((source.offset + source.size for source in self.slices.values()), default=0)
        if found < needed:
            raise errors.DataLossError(
                f"{self.file_name} of {self.group} has {found} of {needed} bytes; read another"
                " version",
                reason="SHORT_FILE",
                metadata={"group": self.group},
            )

    def verify(self) -> Iterator[int]:
        """Read all of it; yields the bytes of each block.

        Raises:
            DataLossError: as `OpenSliceFile.read` does.
        """
        with self.opened() as file:
            for source in self.slices.values():
                for block in file.read(source, 0, source.size):
                    yield block.size

    def _unreadable(self, error: OSError) -> errors.DataLossError:
        return errors.DataLossError(
            f"the disk does not give {self.file_name} of {self.group}: {error.strerror}",
            reason="READ_FAILED",
            metadata={"group": self.group},
        )


class OpenSliceFile:
    """A piece whose file is open.

    Args:
        piece: which.
        file: its file.
    """

    def __init__(self, piece: SliceFile, file: VaultFile) -> None:
        self._piece = piece
        self._file = file

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return self._file.size

    def read(self, source: SliceSpec, start: int, end: int) -> Iterator[Bytes]:
        """Bytes `start` to `end` of a slice, in parts that lie in one block each.

        Whole blocks are read, so that nothing is given away that was not verified.

        Raises:
            DataLossError: the file is too short (SHORT_FILE), a block is not what was written
                (CHECKSUM_MISMATCH), or the disk does not give it (READ_FAILED).
        """
        first = start - start % source.block_bytes
        for begin in range(first, end, source.block_bytes):
            block = self._block(source, begin)
            yield block[max(0, start - begin) : end - begin]

    def read_together(self, sources: Sequence[SliceSpec]) -> Bytes:
        """Slices of one block each that follow one another, at once.

        Raises:
            DataLossError: as `read` does.
        """
        first = sources[0].offset
        found = self._span(sources, first, sources[-1].offset + sources[-1].size - first)
        view = found.data
        for source in sources:
            begin = source.offset - first
            if not is_whole(view[begin : begin + source.size], source.blocks[0]):
                raise self._damaged(source, 0)
        return found

    def _block(self, source: SliceSpec, begin: int) -> Bytes:
        """The block of a slice that begins at a byte of it."""
        size = min(source.block_bytes, source.size - begin)
        block = self._span([source], source.offset + begin, size)
        if not is_whole(block.data, source.blocks[begin // source.block_bytes]):
            raise self._damaged(source, begin)
        return block

    def _span(self, sources: Sequence[SliceSpec], start: int, size: int) -> Bytes:
        """Bytes of the file, which are of these slices."""
        span = np.empty(size, np.uint8)
        filled = 0
        while filled < size:
            try:
                read = self._file.read_into(span[filled:], start + filled)
            except OSError as error:
                name = errno.errorcode.get(error.errno or 0, "")
                source = _at(sources, start + filled)
                raise self._lost(source, "READ_FAILED", f"cannot be read ({name})") from None
            if not read:
                raise self._lost(_at(sources, start + filled), "SHORT_FILE", "ends too early")
            filled += read
        return span

    def _damaged(self, source: SliceSpec, begin: int) -> errors.DataLossError:
        what = f"does not match its checksum at byte {begin}"
        return self._lost(source, "CHECKSUM_MISMATCH", what)

    def _lost(self, source: SliceSpec, reason: str, what: str) -> errors.DataLossError:
        box, piece = source.box, self._piece
        return errors.DataLossError(
            f"slice {list(box.offsets)}+{list(box.extents)} of {piece.group} tensor"
            f" {source.tensor}, on {source.shard}, {what}: its disk is at fault; read another"
            " version",
            reason=reason,
            metadata={
                "group": piece.group,
                "tensor": str(source.tensor),
                "shard": source.shard,
                "piece": source.piece,
                "offset": str(source.offset),
            },
        )


def _at(sources: Sequence[SliceSpec], place: int) -> SliceSpec:
    """The one of slices that follow one another that a byte of their file is of."""
    return next(source for source in sources if place < source.offset + source.size)
