"""A piece whose file was handed over: its blocks are copied out of the page cache and verified."""

from __future__ import annotations

import ctypes
import fcntl
import mmap
import os
import stat
from collections.abc import Sequence

import numpy as np

from tessera import errors
from tessera.weights.blocks import is_whole
from tessera.weights.manifest import SliceSpec
from tessera.weights.strided import Bytes

WINDOW_BYTES = 4 * 1024 * 1024
"""Mapped at once, to where this divides the file: then whole huge pages are, if it has such."""

_LEAST_WINDOW = 2 * 1024 * 1024
"""Where no more may be locked: by default a process may lock 8 MiB, for all its threads."""

LEAST_MAPPED = 256 * 1024
"""Below it, to map costs more than the kernel's slower copy."""

_LIBRARY = ctypes.CDLL(None, use_errno=True)


class HandedPiece:
    """The slices of one piece, as the reader's own descriptor gives them.

    Args:
        descriptor: of its file; it stays the caller's to close.

    Raises:
        OSError: that is no file, or is not open for reading alone.
    """

    def __init__(self, descriptor: int) -> None:
        found = os.fstat(descriptor)
        reads = fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY
        if not (stat.S_ISREG(found.st_mode) and reads):
            raise OSError("what was handed over is no file to read")
        self._descriptor = descriptor
        self._size = found.st_size
        self._window = WINDOW_BYTES

    def read(self, source: SliceSpec, begin: int, target: Bytes) -> None:
        """Fill `target` with bytes of a slice from `begin` on; each block is verified in cache.

        It begins where a block begins, and ends where one ends.

        Raises:
            DataLossError: the file is too short (SHORT_FILE), a block is not what was written
                (CHECKSUM_MISMATCH), or the disk does not give it (READ_FAILED).
        """
        size = source.block_bytes
        if len(source.blocks) != -(-source.size // size):
            raise errors.DataLossError("blocks without a checksum", reason="INDEX_DAMAGED")
        first = 0
        while first < target.size:
            place = source.offset + begin + first
            ahead = self._window - place % self._window
            window = target[first : first + ahead + -ahead % size]
            mapped = self._mapped(place, window.size)
            if mapped is None and min(self._window, window.size) > _LEAST_WINDOW:
                self._window = _LEAST_WINDOW
                continue
            for low in range(0, window.size, size):
                block = window[low : low + size]
                if mapped is None:
                    self._read(place + low, block)
                else:
                    block[:] = mapped[low : low + block.size]
                # What is verified is the copy: nothing changes it any more.
                if not is_whole(block.data, source.blocks[(begin + first + low) // size]):
                    raise errors.DataLossError("not what was written", reason="CHECKSUM_MISMATCH")
            first += window.size

    def read_together(
        self, start: int, targets: Sequence[memoryview], checksums: Sequence[int]
    ) -> None:
        """Fill several with the bytes that follow one another from a byte of the file on.

        What they hold then is held against the checksum of each.

        Raises:
            DataLossError: as `read` does.
        """
        try:
            read = os.preadv(self._descriptor, targets, start)
        except OSError as error:
            raise errors.DataLossError(f"{error}", reason="READ_FAILED") from None
        if read < sum(map(len, targets)):
            raise errors.DataLossError("the file ends too early", reason="SHORT_FILE")
        if not all(map(is_whole, targets, checksums)):
            raise errors.DataLossError("not what was written", reason="CHECKSUM_MISMATCH")

    def _mapped(self, place: int, size: int) -> Bytes | None:
        """Bytes of the file in memory, as long as the array lives; None where that is not safe.

        They are locked: a page that the disk does not give, or that was taken back, would kill
        the process when it is touched. Locking fails there instead, and then the file is read.
        """
        start = place - place % mmap.PAGESIZE
        if size < LEAST_MAPPED or place + size > self._size:
            return None
        length = place + size - start
        try:
            found = mmap.mmap(self._descriptor, length, prot=mmap.PROT_READ, offset=start)
        except (OSError, ValueError):
            return None
        bytes_ = np.frombuffer(found, np.uint8)
        address, locked = ctypes.c_void_p(bytes_.ctypes.data), ctypes.c_size_t(length)
        return bytes_[place - start :] if _LIBRARY.mlock(address, locked) == 0 else None

    def _read(self, place: int, block: Bytes) -> None:
        filled = 0
        while filled < block.size:
            try:
                read = os.preadv(self._descriptor, [block[filled:].data], place + filled)
            except OSError as error:
                raise errors.DataLossError(f"{error}", reason="READ_FAILED") from None
            if not read:
                raise errors.DataLossError("the file ends too early", reason="SHORT_FILE")
            filled += read
