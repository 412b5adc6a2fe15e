"""The lane of one host for writers: memory is handed to the shard in place of a push's bytes.

What cannot be handed over goes through the stream like everything else.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
from collections.abc import Iterable, Iterator
from typing import Self

import grpc
import structlog

from tessera import errors
from tessera.api.parameters.v1 import shard_pb2 as pb
from tessera.rpc.channel import bearer, mapped_errors
from tessera.rpc.token import Token
from tessera.weights import descriptors, wire
from tessera.weights.descriptors import SocketAddress
from tessera.weights.strided import Bytes

log = structlog.get_logger()

LEAST_BYTES = 4 * 1024 * 1024
"""Less is not worth a ticket and a socket."""

MEMORY_BYTES = 16 * 1024 * 1024
"""Handed over at once; two of them are under way."""

SEALS = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW
"""What the shard asks for: that nothing changes while it reads."""

_CALL_SECONDS = 5.0
_ACKNOWLEDGED_SECONDS = 60.0
"""For the shard to have read what it got: it may wait for its disk."""


class MemoryLane:
    """One push's memory; a context manager.

    Args:
        connection: to the shard.
        target: of the push.
        token: of the writer.
        usable: whether anything may be handed over at all.
    """

    def __init__(
        self, connection: grpc.Channel, target: pb.PushTarget, token: Token, *, usable: bool
    ) -> None:
        self._connection = connection
        self._target = target
        self._token = token
        self._usable = usable and bool(descriptors.boot_id())
        self._socket: socket.socket | None = None
        self._ticket = b""
        self._under_way = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._socket is not None:
            # A stream that has failed may still be waiting for the shard, on a thread of gRPC's.
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
            self._socket.close()

    def send(self, arrays: Iterable[Bytes]) -> Iterator[pb.PushSlicesRequest | bytes]:
        """Messages that carry the arrays one after another, or stand for them."""
        parts = list(arrays)
        if sum(part.size for part in parts) < LEAST_BYTES or not self._open():
            yield from wire.chunks(parts, wire.PUSH_DATA)
            return
        for batch in _batches(parts):
            size = sum(part.size for part in batch)
            if self._usable and self._hand_over(batch):
                memory = pb.SharedMemory(ticket=self._ticket, size=size)
                yield pb.PushSlicesRequest(memory=memory)
            else:
                yield from wire.chunks(batch, wire.PUSH_DATA)

    def _open(self) -> bool:
        """Connect, once; returns whether that could be done."""
        if self._usable and self._socket is None:
            try:
                self._connect()
            except (errors.TesseraError, OSError) as error:
                log.debug("no lane to the shard", error=str(error))
                self._usable = False
        return self._usable

    def _connect(self) -> None:
        ask = self._connection.unary_unary(
            wire.SHARE_METHOD,
            request_serializer=pb.ShareMemoryRequest.SerializeToString,
            response_deserializer=pb.ShareMemoryResponse.FromString,
        )
        request = pb.ShareMemoryRequest(target=self._target, boot_id=descriptors.boot_id())
        with mapped_errors():
            offer = ask(request, metadata=bearer(self._token), timeout=_CALL_SECONDS)
        self._ticket = offer.ticket
        self._socket = descriptors.connect(
            SocketAddress(path=offer.path, device=offer.device, inode=offer.inode)
        )
        self._socket.sendall(self._ticket)
        self._acknowledged()
        self._socket.settimeout(_ACKNOWLEDGED_SECONDS)

    def _hand_over(self, parts: list[Bytes]) -> bool:
        assert self._socket is not None
        try:
            if self._under_way > 1:
                self._acknowledged()
                self._under_way -= 1
            descriptor = _sealed(parts)
            try:
                descriptors.send(self._socket, [descriptor])
            finally:
                os.close(descriptor)
        except OSError as error:
            log.debug("the rest goes through the stream", error=str(error))
            self._usable = False
            return False
        self._under_way += 1
        return True

    def _acknowledged(self) -> None:
        assert self._socket is not None
        if not self._socket.recv(1):
            raise OSError("the shard has hung up")


def _sealed(parts: list[Bytes]) -> int:
    """A memfd that holds the parts, for nobody to change."""
    descriptor = os.memfd_create("tessera-push", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        for part in parts:
            rest = part.data
            while rest:
                rest = rest[os.write(descriptor, rest) :]
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, SEALS)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _batches(parts: Iterable[Bytes]) -> Iterator[list[Bytes]]:
    """Parts of at most `MEMORY_BYTES` together."""
    batch: list[Bytes] = []
    size = 0
    for whole in parts:
        rest = whole
        while rest.size:
            part = rest[: MEMORY_BYTES - size]
            batch.append(part)
            size, rest = size + part.size, rest[part.size :]
            if size == MEMORY_BYTES:
                yield batch
                batch, size = [], 0
    if batch:
        yield batch
