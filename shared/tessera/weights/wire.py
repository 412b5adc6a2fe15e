"""Bulk messages written and read by hand, in protobuf's own encoding.

A generated class copies a `bytes` field into the message and again when it serializes; at GB/s that
is what limits a stream. Here the bytes go once from the source into the message, and are read in
place. Any protobuf peer understands the result.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from tessera.weights.strided import Bytes

CHUNK_BYTES = 1024 * 1024
"""Bytes of a data message; fastest between 1 and 2 MiB."""

MAX_CHUNK_BYTES = 2 * 1024 * 1024

SLOWEST_BYTES_PER_SECOND = 5e6
"""What a push or a pull is waited for at most, beside the patience with services."""

PUSH_DATA = 3
"""Number of PushSlicesRequest.data."""

PULL_DATA = 1
"""Number of PullSlicesResponse.data."""

PUSH_METHOD = "/tessera.api.parameters.v1.ShardDataService/PushSlices"
PULL_METHOD = "/tessera.api.parameters.v1.ShardDataService/PullSlices"
SHARE_METHOD = "/tessera.api.parameters.v1.ShardDataService/ShareMemory"
OPEN_METHOD = "/tessera.api.parameters.v1.ShardDataService/OpenPieces"

_LENGTH_DELIMITED = 2
_MORE = 0x80
"""The bit of a varint's byte that says that another follows."""


def encode(number: int, parts: list[Bytes], size: int) -> bytes:
    """A message whose only field is `bytes` field `number`, made of `parts` (`size` in all)."""
    header = bytearray([number << 3 | _LENGTH_DELIMITED])
    rest = size
    while rest >= _MORE:
        header.append(rest & (_MORE - 1) | _MORE)
        rest >>= 7
    header.append(rest)
    return b"".join([header, *parts])  # type: ignore[list-item]  # arrays are buffers


def payload(number: int, message: bytes) -> Bytes | None:
    """The bytes of field `number`, in place; None if that is not all of the message."""
    if not message or message[0] != number << 3 | _LENGTH_DELIMITED:
        return None
    size, shift, position = 0, 0, 1
    while position < len(message):
        byte = message[position]
        size |= (byte & (_MORE - 1)) << shift
        shift, position = shift + 7, position + 1
        if byte < _MORE:
            break
    if position + size != len(message):
        return None
    return np.frombuffer(message, np.uint8, offset=position)


def serialize(message: Any) -> bytes:
    """For methods that send both ready bytes and ordinary messages."""
    return message if isinstance(message, bytes) else message.SerializeToString()


def identity(message: bytes) -> bytes:
    """The message as it came."""
    return message


def chunks(arrays: Iterable[Bytes], number: int, limit: int = CHUNK_BYTES) -> Iterator[bytes]:
    """Data messages of at most `limit` bytes that carry the arrays one after another."""
    parts: list[Bytes] = []
    size = 0
    for array in arrays:
        if size + array.size < limit:
            if array.size:
                parts.append(array)
                size += array.size
            continue
        position = 0
        while position < array.size:
            taken = min(limit - size, array.size - position)
            parts.append(array[position : position + taken])
            position, size = position + taken, size + taken
            if size == limit:
                yield encode(number, parts, size)
                parts, size = [], 0
    if size:
        yield encode(number, parts, size)
