"""The shard's end of the lane of one host: files go out as descriptors, and memory comes in."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from pathlib import Path

import structlog

from tessera import errors
from tessera.parameters.descriptor_server import DescriptorServer
from tessera.parameters.shared_memory import SharedMemory
from tessera.parameters.slice_store import Key, SliceStore
from tessera.parameters.tickets import Asked, Tickets
from tessera.parameters.waiting_connections import WaitingConnections
from tessera.weights.descriptors import SocketAddress, boot_id, send

log = structlog.get_logger()

FOLDER = ".lane"
"""In the shard's own: whoever reaches the socket reaches the files. No tenant has such a name."""


class Lane:
    """For who may read or write, and is on this host. Without `start` it offers nothing.

    Args:
        store: has the pieces.
        folder: of the shard on this node.
        tickets: that are out.
    """

    def __init__(self, store: SliceStore, folder: Path, tickets: Tickets | None = None) -> None:
        self._store = store
        self._tickets = tickets or Tickets()
        self._server = DescriptorServer(folder / FOLDER, self._answer)
        self._waiting = WaitingConnections()
        self._address: SocketAddress | None = None
        self._boot_id = boot_id()

    def start(self) -> None:
        """Listen, where that is possible."""
        if not self._boot_id:
            return
        try:
            self._address = self._server.start()
        except OSError as error:
            log.info("readers of this host pull over gRPC", error=str(error))

    def stop(self) -> None:
        """Offer nothing any more."""
        if self._address is not None:
            self._address = None
            self._server.stop()
            self._waiting.close()

    def offer(self, key: Key, pieces: Sequence[str], host: str) -> tuple[bytes, SocketAddress]:
        """A ticket for pieces, and where it is taken.

        Args:
            key: set and version.
            pieces: names of what is here.
            host: boot id of the reader's.

        Raises:
            FailedPreconditionError: the reader is on another host (OTHER_HOST), or nothing is
                handed over here (NO_LANE).
            ResourceExhaustedError: too many tickets are out (TOO_MANY_TICKETS).
        """
        if not self._store.vault.has_descriptors:
            raise _no_lane()
        address = self._reachable(host)
        asked = Asked(set=key[0], version=key[1], pieces=tuple(pieces))
        return self._tickets.issue(asked), address

    def share(self, name: str, host: str) -> tuple[bytes, SocketAddress]:
        """A ticket for handing over memory of a push to a set, and where; raises as `offer`."""
        address = self._reachable(host)
        return self._tickets.issue(Asked(set=name)), address

    def memory(self, name: str) -> SharedMemory:
        """What the writer of a set hands over during one push."""
        return SharedMemory(lambda ticket: self._waiting.take(ticket, name))

    def _reachable(self, host: str) -> SocketAddress:
        address = self._address
        if address is None:
            raise _no_lane()
        if host != self._boot_id:
            raise errors.FailedPreconditionError(
                "the shard runs on another host", reason="OTHER_HOST"
            )
        return address

    def _answer(self, ticket: bytes, connection: socket.socket) -> bool:
        """Give a ticket's holder what it is good for; returns whether the connection stays."""
        asked = self._tickets.redeem(ticket)
        if asked is None:
            return False
        opened = self._opened(asked)
        try:
            if opened:
                send(connection, opened)
            elif not asked.pieces and self._waiting.put(ticket, asked.set, connection):
                # After this the push may ask for it.
                connection.send(b"\1")
                return True
        finally:
            for descriptor in opened:
                os.close(descriptor)
        return False

    def _opened(self, asked: Asked) -> list[int]:
        """Descriptors of pieces; of all, or of none."""
        found: list[int] = []
        try:
            for name in asked.pieces:
                piece = self._store.piece((asked.set, asked.version), name)
                found.append(piece.descriptor())
        except (OSError, errors.TesseraError) as error:
            # The reader hears why when it pulls.
            log.debug("a piece cannot be handed over", error=str(error))
            for descriptor in found:
                os.close(descriptor)
            return []
        return found


def _no_lane() -> errors.FailedPreconditionError:
    return errors.FailedPreconditionError("nothing is handed over here", reason="NO_LANE")
