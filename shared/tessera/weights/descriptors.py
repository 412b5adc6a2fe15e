"""Descriptors of files that a process hands to another one of its host, over a Unix socket.

Who wants them has a ticket, from a call that was authorised: it connects, sends the ticket, and
gets one message with the descriptors. Both sides are here but for the one that listens.
"""

from __future__ import annotations

import array
import os
import socket
import stat
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

TICKET_BYTES = 32

MOST = 64
"""Descriptors of one ticket: the kernel takes 253 in a message, a process has often but 1,024."""

SECONDS = 2.0
"""For the other side to say what it has to."""

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_CREDENTIALS = struct.Struct("3i")
"""Process, user and group, as SO_PEERCRED has them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SocketAddress:
    """A Unix socket: another one that has its path elsewhere, or later, has another inode."""

    path: str
    device: int
    inode: int


def boot_id() -> str:
    """Which boot of which machine this is, the same in all its containers; empty: not known."""
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return ""


@contextmanager
def folder_of(path: Path) -> Iterator[str]:
    """A short name of a folder while the block runs: a socket's path has at most 107 bytes.

    Raises:
        OSError: there is no such folder, or this system has no such names.
    """
    descriptor = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)


def peer(connection: socket.socket) -> int:
    """The user that the process at the other end runs as."""
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    user: int = _CREDENTIALS.unpack(raw)[1]
    return user


def send(connection: socket.socket, descriptors: Sequence[int]) -> None:
    """Hand descriptors over; the other side has its own then.

    Raises:
        OSError: it is gone.
    """
    socket.send_fds(connection, [bytes([len(descriptors)])], descriptors)


def connect(address: SocketAddress) -> socket.socket:
    """A connection to whoever serves a socket.

    Raises:
        OSError: nobody does here, or it is another one.
    """
    path = Path(address.path)
    connection = socket.socket(socket.AF_UNIX)
    try:
        with folder_of(path.parent) as folder:
            owner = _owner(Path(folder, path.name), address)
            connection.settimeout(SECONDS)
            connection.connect(f"{folder}/{path.name}")
        _check_peer(connection, owner)
    except BaseException:
        connection.close()
        raise
    return connection


def _owner(path: Path, address: SocketAddress) -> int:
    """Whose the socket is."""
    found = path.stat(follow_symlinks=False)
    same = (found.st_dev, found.st_ino) == (address.device, address.inode)
    if not (same and stat.S_ISSOCK(found.st_mode)):
        raise OSError(f"{address.path} is another socket than the one that was named")
    return found.st_uid


def _check_peer(connection: socket.socket, owner: int) -> None:
    if peer(connection) != owner:
        raise OSError("the socket is served by another user than its owner")


def fetch(address: SocketAddress, ticket: bytes, count: int) -> list[int]:
    """The descriptors that a ticket is good for; they are the caller's to close.

    Raises:
        OSError: nobody serves that socket here, or the ticket is good for nothing.
    """
    with connect(address) as connection:
        connection.sendall(ticket)
        return receive(connection, count)


def receive(connection: socket.socket, count: int) -> list[int]:
    """The descriptors of the next message, the caller's to close.

    Raises:
        OSError: they do not come, or not as many.
    """
    room = socket.CMSG_SPACE(count * array.array("i").itemsize)
    _, messages, flags, _ = connection.recvmsg(1, room, socket.MSG_CMSG_CLOEXEC)
    found = array.array("i")
    for level, kind, data in messages:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            found.frombytes(data[: len(data) - len(data) % found.itemsize])
    if flags & socket.MSG_CTRUNC or len(found) != count:
        for descriptor in found:
            os.close(descriptor)
        raise OSError(f"{len(found)} of {count} descriptors came")
    return found.tolist()
