"""Bytes of a push as memory that its writer, on the same host, hands over."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import stat
from collections.abc import Callable, Iterator
from typing import Self

import numpy as np

from tessera import errors
from tessera.weights.descriptors import SECONDS, receive
from tessera.weights.memory_lane import MEMORY_BYTES, SEALS
from tessera.weights.strided import Bytes

_PART_BYTES = 1024 * 1024


class SharedMemory:
    """The memory of one push; a context manager.

    Args:
        connect: the connection that came with a ticket, if any.
    """

    def __init__(self, connect: Callable[[bytes], socket.socket | None]) -> None:
        self._connect = connect
        self._socket: socket.socket | None = None
        self._part = np.empty(0, np.uint8)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._socket is not None:
            self._socket.close()

    def read(self, ticket: bytes, size: int) -> Iterator[Bytes]:
        """The next bytes, in parts that are good until the next one.

        Raises:
            InvalidArgumentError: it is not as much, or can still be changed (BAD_MESSAGE).
            FailedPreconditionError: there is no such connection, or nothing comes (NO_LANE).
        """
        try:
            connection = self._connected(ticket)
            (descriptor,) = receive(connection, 1)
        except OSError as error:
            raise errors.FailedPreconditionError(
                f"the memory was not handed over: {error}", reason="NO_LANE"
            ) from None
        try:
            _check(descriptor, size)
            yield from self._parts(descriptor, size)
        finally:
            os.close(descriptor)
        with contextlib.suppress(OSError):  # It had no more to hand over, and does not wait.
            connection.sendall(b"\1")

    def _connected(self, ticket: bytes) -> socket.socket:
        if self._socket is None:
            self._socket = self._connect(ticket)
            if self._socket is None:
                raise errors.FailedPreconditionError(
                    "nobody has connected with that ticket", reason="NO_LANE"
                )
            self._socket.settimeout(SECONDS)
        return self._socket

    def _parts(self, descriptor: int, size: int) -> Iterator[Bytes]:
        # Read, not mapped: a page that is not there costs nothing, and none can fail when touched.
        self._part = self._part if self._part.size else np.empty(_PART_BYTES, np.uint8)
        place = 0
        while place < size:
            try:
                read = os.preadv(descriptor, [self._part[: size - place].data], place)
            except OSError as error:
                raise errors.DataLossError(
                    f"memory cannot be read: {error}", reason="READ_FAILED"
                ) from None
            yield self._part[:read]
            place += read


def _check(descriptor: int, size: int) -> None:
    found = os.fstat(descriptor)
    try:
        sealed = fcntl.fcntl(descriptor, fcntl.F_GET_SEALS) & SEALS == SEALS
    except OSError:  # It is no memfd.
        sealed = False
    if not (sealed and stat.S_ISREG(found.st_mode) and 0 < size <= MEMORY_BYTES):
        raise errors.InvalidArgumentError(
            f"what is handed over must be sealed, and at most {MEMORY_BYTES:,} bytes",
            reason="BAD_MESSAGE",
        )
    if found.st_size != size:
        raise errors.InvalidArgumentError(
            f"{size} bytes were announced, and {found.st_size} handed over", reason="BAD_MESSAGE"
        )
