"""Connections of writers who have shown their ticket, until their push asks for them."""

from __future__ import annotations

import socket
import threading

MOST = 64
SECONDS = 5.0
"""For a push to ask: whoever connects has begun it, or is about to."""


class WaitingConnections:
    """They are closed when nobody has asked for them in time. Thread-safe.

    Args:
        most: that wait at once.
        seconds: that each waits.
    """

    def __init__(self, most: int = MOST, seconds: float = SECONDS) -> None:
        self._most = most
        self._seconds = seconds
        self._lock = threading.Lock()
        self._waiting: dict[tuple[bytes, str], tuple[socket.socket, threading.Timer]] = {}

    def put(self, ticket: bytes, name: str, connection: socket.socket) -> bool:
        """Keep the connection of a set's writer; returns whether there was room."""
        key = (ticket, name)
        timer = threading.Timer(self._seconds, self._forget, [key])
        timer.daemon = True
        with self._lock:
            if len(self._waiting) >= self._most:
                return False
            self._waiting[key] = (connection, timer)
        timer.start()
        return True

    def take(self, ticket: bytes, name: str) -> socket.socket | None:
        """The connection that came with a ticket, once; None: it has not come, or not in time."""
        with self._lock:
            connection, timer = self._waiting.pop((ticket, name), (None, None))
        if timer is not None:
            timer.cancel()
        return connection

    def close(self) -> None:
        """Forget all of them."""
        for key in list(self._waiting):
            self._forget(key)

    def _forget(self, key: tuple[bytes, str]) -> None:
        connection = self.take(*key)
        if connection is not None:
            connection.close()
