"""Protobuf to the controller's values and back: what several services need."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TypeVar

from google.protobuf import json_format, timestamp_pb2
from google.protobuf.message import Message

from tessera.api.controller.v1 import job_pb2
from tessera.controller.policy.job import JobState
from tessera.controller.policy.scheduler import Reason

M = TypeVar("M", bound=Message)


def to_json(message: Message) -> str:
    """The canonical proto3 JSON of a message, field names as in the .proto."""
    return json_format.MessageToJson(
        message, preserving_proto_field_name=True, indent=None, sort_keys=True
    )


def from_json(kind: type[M], text: str) -> M:
    """The message of stored JSON; fields of a newer build are ignored."""
    return json_format.Parse(text, kind(), ignore_unknown_fields=True)


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
    return [job_pb2.WaitingReason(reason=r.reason, message=r.message) for r in reasons]
