"""What lies in the pieces of a rank, as a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from google.protobuf.message import DecodeError

from tessera.api.parameters.v1 import manifest_pb2 as pb
from tessera.parameters.checked_file import FileKind, read_checked, write_checked
from tessera.parameters.vault import Vault
from tessera.weights import messages
from tessera.weights.manifest import SliceSpec
from tessera.weights.slice_table import SliceTable
from tessera.weights.table_messages import table_to_pb

INDEX = FileKind("tessera-index-1", "index", "INDEX_DAMAGED")

Contents = Mapping[tuple[str, str], Sequence[SliceSpec]]
"""Slices by piece and group."""


def write_index(vault: Vault, name: str, contents: Contents) -> None:
    """Put the file in its place, durably."""
    message = pb.Manifest(
        # One entry for each piece: the group is the piece's when the index is read back.
        tensors=[pb.Tensor(name=piece, group=group) for piece, group in contents],
        tables=[table_to_pb(SliceTable.join(list(contents.values())))],
    )
    write_checked(vault, name, INDEX, message.SerializeToString())


def read_index(vault: Vault, name: str) -> Contents:
    """What lies in the pieces of a rank.

    Raises:
        DataLossError: the file is not there, or not what was written (INDEX_DAMAGED).
    """
    try:
        message = pb.Manifest.FromString(read_checked(vault, name, INDEX))
    except (DecodeError, FileNotFoundError):
        raise INDEX.damaged(name) from None
    contents: dict[tuple[str, str], list[SliceSpec]] = {}
    keys = {tensor.name: (tensor.name, tensor.group) for tensor in message.tensors}
    for key in keys.values():
        contents[key] = []
    for source in messages.slices_from_pb(message):
        if len(source.blocks) != -(-source.size // source.block_bytes):
            raise INDEX.damaged(name)
        contents[keys[source.piece]].append(source)
    return contents
