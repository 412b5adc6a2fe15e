"""The Unix socket at which descriptors are handed over, for tickets.

One thread serves all: who connects has to show a ticket, and is soon gone.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

from tessera.weights.descriptors import SECONDS, TICKET_BYTES, SocketAddress, folder_of, peer

CONNECTIONS = 64
"""That may be open at once; one more is closed."""

_NAME = "socket"
_PAUSE = 0.05


class DescriptorServer:
    """Listens, from `start` to `stop`.

    Args:
        folder: of the socket, which is made for its owner alone.
        answer: gets a ticket and the connection, and tells whether it keeps that.
        seconds: that a connection may be open.
        connections: that may be open at once.
    """

    def __init__(
        self,
        folder: Path,
        answer: Callable[[bytes, socket.socket], bool],
        seconds: float = SECONDS,
        connections: int = CONNECTIONS,
    ) -> None:
        self._path = folder / _NAME
        self._answer = answer
        self._seconds = seconds
        self._connections = connections
        self._open: dict[socket.socket, tuple[float, bytearray]] = {}

    def start(self) -> SocketAddress:
        """Listen; returns where.

        Raises:
            OSError: it cannot: there are file systems and hosts without such sockets.
        """
        folder = self._path.parent
        folder.mkdir(mode=0o700, exist_ok=True)
        folder.chmod(0o700)
        self._path.unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX)
        try:
            with folder_of(folder) as short:
                self._listener.bind(f"{short}/{_NAME}")
            self._listener.listen(self._connections)
            self._listener.setblocking(False)
            found = self._path.stat()
        except BaseException:
            self._listener.close()
            raise
        self._ended, self._end = socket.socketpair()
        self._selector = selectors.DefaultSelector()
        for listening in (self._listener, self._ended):
            self._selector.register(listening, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._serve, name="descriptors", daemon=True)
        self._thread.start()
        return SocketAddress(
            path=str(self._path.absolute()), device=found.st_dev, inode=found.st_ino
        )

    def stop(self) -> None:
        """Listen no more, and close everything."""
        self._end.close()
        self._thread.join()
        self._path.unlink(missing_ok=True)

    def _serve(self) -> None:
        while self._turn():
            pass
        self._selector.close()
        for connection in [*self._open, self._listener, self._ended]:
            connection.close()
        self._open.clear()

    def _turn(self) -> bool:
        """Wait for something and do it; returns whether to go on."""
        for key, _ in self._selector.select(self._pause()):
            if key.fileobj is self._ended:
                return False
            if key.fileobj is self._listener:
                self._accept()
            elif key.fileobj in self._open:
                assert isinstance(key.fileobj, socket.socket)
                self._read(key.fileobj)
        now = time.monotonic()
        for connection in [one for one, (until, _) in self._open.items() if until <= now]:
            self._forget(connection).close()
        return True

    def _pause(self) -> float | None:
        """Seconds until the oldest connection has to end; None: there is none."""
        oldest = min((until for until, _ in self._open.values()), default=None)
        return None if oldest is None else max(0.0, oldest - time.monotonic())

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except BlockingIOError:  # It has hung up.
            return
        except OSError:  # This process has no descriptor left: others have to give some back.
            time.sleep(_PAUSE)
            return
        # The folder keeps other users out; whoever hands sockets around is kept out here.
        if len(self._open) >= self._connections or peer(connection) not in {0, os.geteuid()}:
            connection.close()
            return
        connection.setblocking(False)
        self._open[connection] = (time.monotonic() + self._seconds, bytearray())
        self._selector.register(connection, selectors.EVENT_READ)

    def _read(self, connection: socket.socket) -> None:
        """The next bytes of a ticket."""
        _, ticket = self._open[connection]
        try:
            more = connection.recv(TICKET_BYTES - len(ticket))
        except OSError:
            more = b""
        ticket += more
        if not more:
            self._forget(connection).close()
        elif len(ticket) == TICKET_BYTES:
            self._forget(connection)
            kept = False
            with contextlib.suppress(OSError):  # It is gone.
                kept = self._answer(bytes(ticket), connection)
            if not kept:
                connection.close()

    def _forget(self, connection: socket.socket) -> socket.socket:
        del self._open[connection]
        self._selector.unregister(connection)
        return connection
