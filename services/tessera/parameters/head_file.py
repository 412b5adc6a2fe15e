"""The last rollback of a set, as a shard keeps it beside the versions."""

from __future__ import annotations

from pathlib import Path

import structlog
from google.protobuf.message import DecodeError

from tessera import errors
from tessera.api.parameters.v1 import manifest_pb2 as pb
from tessera.parameters.checked_file import FileKind, read_checked, write_checked
from tessera.weights import messages
from tessera.weights.manifest import HeadMove

log = structlog.get_logger()

NAME = "head"
HEAD = FileKind("tessera-head-1", "record of the head", "HEAD_DAMAGED")


def write_head(folder: Path, move: HeadMove) -> None:
    """Keep a rollback in the folder of its set, durably."""
    content = messages.head_move_to_pb(move).SerializeToString()
    write_checked(folder / NAME, HEAD, content)


def read_head(folder: Path) -> HeadMove | None:
    """The last rollback of a set; None if there was none, or it cannot be read: others have it."""
    path = folder / NAME
    try:
        return messages.head_move_from_pb(pb.HeadMove.FromString(read_checked(path, HEAD)))
    except FileNotFoundError:
        return None
    except (errors.DataLossError, DecodeError):
        log.error("unreadable record of a head", path=str(path))  # noqa: TRY400
        return None
