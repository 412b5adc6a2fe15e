"""What lies in the pieces of a rank, as a file that tells by itself whether it is whole.

A line that names the format, the length and the checksum of the content, then the content.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import xxhash
from google.protobuf.message import DecodeError

from tessera import errors
from tessera.api.parameters.v1 import manifest_pb2 as pb
from tessera.weights import messages
from tessera.weights.manifest import SliceSpec

FORMAT = "tessera-index-1"

Contents = Mapping[tuple[str, str], Sequence[SliceSpec]]
"""Slices by piece and group."""


def write_index(path: Path, contents: Contents) -> None:
    """Put the file in its place, durably."""
    message = pb.Manifest(
        # One entry for each piece: the group is the piece's when the index is read back.
        tensors=[pb.Tensor(name=name, group=group) for name, group in contents],
        slices=[messages.slice_to_pb(s) for slices in contents.values() for s in slices],
    )
    content = message.SerializeToString()
    temporary = path.with_suffix(".tmp")
    with temporary.open("wb") as file:
        file.write(_head(content))
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    # The names of the pieces must be durable before the index that counts on them.
    sync_folder(path.parent)
    temporary.rename(path)
    sync_folder(path.parent)


def read_index(path: Path) -> Contents:
    """What lies in the pieces of a rank.

    Raises:
        DataLossError: the file is not what was written (INDEX_DAMAGED).
    """
    try:
        head, _, content = path.read_bytes().partition(b"\n")
        if head + b"\n" != _head(content):
            raise _damaged(path)
        message = pb.Manifest.FromString(content)
    except (DecodeError, OSError):
        raise _damaged(path) from None
    contents: dict[tuple[str, str], list[SliceSpec]] = {}
    keys = {tensor.name: (tensor.name, tensor.group) for tensor in message.tensors}
    for key in keys.values():
        contents[key] = []
    for source in message.slices:
        contents[keys[source.piece]].append(messages.slice_from_pb(source))
    return contents


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _head(content: bytes) -> bytes:
    return f"{FORMAT} {len(content)} {xxhash.xxh3_64_hexdigest(content)}\n".encode()


def _damaged(path: Path) -> errors.DataLossError:
    return errors.DataLossError(f"the index {path.name} is damaged", reason="INDEX_DAMAGED")
