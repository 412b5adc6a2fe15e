"""Protobuf to the controller's values and back: what several services need."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from typing import Any, TypeVar

from google.protobuf import json_format, struct_pb2, timestamp_pb2
from google.protobuf.message import Message

from tessera.api.controller.v1 import job_pb2
from tessera.controller.policy.job import JobState
from tessera.controller.scheduling.decisions import Reason

M = TypeVar("M", bound=Message)


def to_json(message: Message) -> str:
    """The canonical proto3 JSON of a message, field names as in the .proto."""
    return json_format.MessageToJson(
        message, preserving_proto_field_name=True, indent=None, sort_keys=True
    )


def from_json(kind: type[M], text: str) -> M:
    """The message of stored JSON; fields of a newer build are ignored."""
    return json_format.Parse(text, kind(), ignore_unknown_fields=True)


def plain(value: struct_pb2.Struct) -> dict[str, Any]:
    """The JSON values of a struct; a number that JSON does not have is null."""
    return {name: _plain(item) for name, item in value.fields.items()}


def _plain(value: struct_pb2.Value) -> Any:
    match value.WhichOneof("kind"):
        case "struct_value":
            return plain(value.struct_value)
        case "list_value":
            return [_plain(item) for item in value.list_value.values]
        case "number_value":
            return value.number_value if math.isfinite(value.number_value) else None
        case "string_value":
            return value.string_value
        case "bool_value":
            return value.bool_value
        case _:
            return None


def digest(message: Message) -> str:
    """sha256 of a message, the same for equal messages of one build."""
    return hashlib.sha256(message.SerializeToString(deterministic=True)).hexdigest()


def timestamp(seconds: float | None) -> timestamp_pb2.Timestamp | None:
    """A protobuf timestamp."""
    if seconds is None:
        return None
    stamp = timestamp_pb2.Timestamp()
    stamp.FromMicroseconds(round(seconds * 1e6))
    return stamp


def state(value: JobState) -> job_pb2.JobState.ValueType:
    """A job's state."""
    return job_pb2.JobState.Value(f"JOB_STATE_{value.value}")


def waiting(reasons: Sequence[Reason]) -> list[job_pb2.WaitingReason]:
    """Why something waits."""
    return [job_pb2.WaitingReason(reason=r.code, message=r.message, about=r.about) for r in reasons]
