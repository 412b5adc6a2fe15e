"""The last rollback of a set, as a shard keeps it beside the versions."""

from __future__ import annotations

import structlog
from google.protobuf.message import DecodeError

from tessera import errors
from tessera.api.parameters.v1 import manifest_pb2 as pb
from tessera.parameters.checked_file import FileKind, read_checked, write_checked
from tessera.parameters.vault import Vault
from tessera.weights import messages
from tessera.weights.manifest import HeadMove

log = structlog.get_logger()

NAME = "head"
HEAD = FileKind("tessera-head-1", "record of the head", "HEAD_DAMAGED")


def write_head(vault: Vault, folder: str, move: HeadMove) -> None:
    """Keep a rollback in the folder of its set, durably."""
    content = messages.head_move_to_pb(move).SerializeToString()
    write_checked(vault, f"{folder}/{NAME}", HEAD, content)


def read_head(vault: Vault, folder: str) -> HeadMove | None:
    """The last rollback of a set; None if there was none, or it cannot be read: others have it."""
    name = f"{folder}/{NAME}"
    try:
        content = read_checked(vault, name, HEAD)
        return messages.head_move_from_pb(pb.HeadMove.FromString(content))
    except FileNotFoundError:
        return None
    except (errors.DataLossError, DecodeError):
        log.error("unreadable record of a head", path=name)  # noqa: TRY400
        return None
