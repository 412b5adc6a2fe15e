"""Limits that .proto files state of requests: what just breaks each, and messages to break."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from buf.validate import validate_pb2
from tessera.api.controller.v1 import (
    attempt_pb2,
    deployment_pb2,
    job_pb2,
    node_pb2,
    pool_pb2,
    queue_pb2,
    registry_pb2,
    usage_pb2,
)
from tessera.api.inference.v1 import inference_pb2
from tessera.api.parameters.v1 import coordinator_pb2, shard_pb2
from tessera.api.trainer.v1 import trainer_pb2

FILES = (
    attempt_pb2, coordinator_pb2, deployment_pb2, inference_pb2, job_pb2, node_pb2, pool_pb2,
    queue_pb2, registry_pb2, shard_pb2, trainer_pb2, usage_pb2,
)  # fmt: skip
REQUESTS = [
    method.input_type
    for file in FILES
    for service in file.DESCRIPTOR.services_by_name.values()
    for method in service.methods
]
# What may not be left out.
REQUIRED = {
    *(f"{name}Request.model" for name in ("Answer", "Classify", "Embed", "FillMask", "Generate")),
    *(f"{name}Request.model" for name in ("GetModel", "Score", "Translate")),
    *(f"{name}Request.inputs" for name in ("Classify", "Embed", "FillMask", "Translate")),
    *(f"{name}Request.name" for name in ("CancelJob", "CheckpointJob", "GetJob", "GetJobRun")),
    *(f"{name}JobRequest.name" for name in ("Delete", "Hold", "Pause", "Release", "Requeue")),
    *(f"{name}JobRequest.name" for name in ("Resume", "Update")),
    *(f"{name}Request.name" for name in ("StreamLogs", "StreamMetrics", "WatchJob", "DeletePool")),
    *(f"{name}DeploymentRequest.name" for name in ("Delete", "Get")),
    *(f"{name}Request.name" for name in ("Deregister", "Heartbeat")),
    *(f"{name}Request.ref" for name in ("AppendLogs", "FinishAttempt", "GetAttempt")),
    *(f"{name}VersionRequest.set" for name in ("Abort", "Commit", "Drop", "Open", "Persist")),
    *(f"{name}VersionRequest.set" for name in ("Record", "Verify")),
    *(f"{name}VersionRequest.store" for name in ("Drop", "Persist", "Record")),
    *(f"{name}HeldRequest.set" for name in ("Read", "Verify")),
    *(f"{name}SetRequest.set" for name in ("Delete", "Rollback")),
    "RollbackSetRequest.version",
    "ListHeadMovesRequest.set",
    *(f"RecordHeadRequest.{name}" for name in ("set", "move", "store")),
    "RecordVersionRequest.manifest",
    "RecordVersionRequest.keep",
    "Version.set",
    *(f"{name}Request.set" for name in ("AcquireWriter", "GetManifest", "ListVersions")),
    *(f"{name}Request.set" for name in ("PinVersion", "PullSlices", "ReleasePin", "SealVersion")),
    *(f"{name}ShardRequest.name" for name in ("Drain", "Remove")),
    *(f"PullPieceRequest.{name}" for name in ("set", "piece")),
    *(f"CopyPiecesRequest.{name}" for name in ("set", "store", "pieces")),
    *(f"PieceSource.{name}" for name in ("piece", "shards")),
    "ShardTarget.data_address",
    *(f"{name}BlobRequest.digest" for name in ("Get", "Stat")),
    *(f"OpenPiecesRequest.{name}" for name in ("set", "pieces", "boot_id")),
    *(f"ShareMemoryRequest.{name}" for name in ("target", "boot_id")),
    "ExchangeOidcTokenRequest.token",
    "IssueCertificateRequest.request",
    "WatchSetRequest.set",
    "PushTarget.set",
    "ReportAttemptRequest.ref",
    "AttemptRef.job",
    "AttemptRef.attempt",
    "AppendLogsRequest.source",
    "AppendLogsRequest.first_line",
    "GenerateRequest.input",
    "Input.value",
    "AnswerRequest.questions",
    "Question.question",
    "Question.context",
    "ScoreRequest.texts",
    "ScoredText.target",
    "CreateJobRequest.spec",
    "CreateDeploymentRequest.spec",
    "DeploymentSpec.name",
    "DeploymentSpec.model",
    "JobSpec.name",
    "JobSpec.model",
    "JobSpec.data",
    "ModelSpec.family",
    "DataSpec.files",
    "AcceleratorSpec.type",
    "TopologySpec.within",
    "ExplainJobRequest.subject",
    "ExtraNodes.count",
    "PutQueueRequest.queue",
    "Queue.name",
    "DeleteQueueRequest.name",
    "UpdateNodeRequest.id",
    "UpdateNodeRequest.state",
    "KubernetesSecretSpec.name",
    "KubernetesSecretSpec.key",
    "RegisterPoolRequest.pool",
    "Pool.name",
    "Pool.dashboard_url",
    "SecretRef.source",
    "RegisterRequest.endpoint",
    "Endpoint.role",
    "Endpoint.name",
    "Endpoint.incarnation",
    "Endpoint.control_address",
    "ExchangeTicketRequest.ticket",
    "AcquireWriterRequest.job",
    "AcquireWriterRequest.attempt",
    "PinVersionRequest.owner",
    "Asset.name",
    "Tensor.group",
    "Tensor.name",
    "Tensor.dtype",
    "SliceHeader.group",
    "SliceReuse.version",
    "PushTarget.grant",
    "RenewTokenRequest.token",
    "JoinRequest.host",
}
WORDS = ("", "-", "A b", "é", "../a", "a\n", "a" * 64, "a" * 5000)
GOOD = (
    "a0", "a/a", "0" * 32, "0" * 64, "driver", "a:1", "http://a", "TESSERA_SECRET_A",
    f"{0:08x}-0000-0000-0000-{0:012x}",
)  # fmt: skip
"""Texts; every pattern that may not be left out takes one of them."""
TEXT = FieldDescriptor.CPPTYPE_STRING
OTHERS_OWN = "google.protobuf."
"""Messages that are not ours to limit inside: the field that holds one has the limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """A rule: the value that just breaks it, or what makes it; where in the field that is named."""

    rule: str
    bad: Any
    element: str = ""
    size: int = 0


def rules_of(field: FieldDescriptor) -> validate_pb2.FieldRules:
    return field.GetOptions().Extensions[validate_pb2.field]


def is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def message_in(field: FieldDescriptor) -> Descriptor | None:
    """The kind of message that a field, a list or a map holds; None: it holds plain values."""
    held = field.message_type.fields_by_name["value"] if is_map(field) else field
    return held.message_type


def is_ours(field: FieldDescriptor) -> bool:
    held = message_in(field)
    return held is not None and not held.full_name.startswith(OTHERS_OWN)


def inner(kind: Descriptor) -> Iterator[tuple[FieldDescriptor, Descriptor]]:
    """The fields that hold messages of ours, and which."""
    return ((each, message_in(each)) for each in kind.fields if is_ours(each))


def kinds(kind: Descriptor) -> Iterator[Descriptor]:
    """A kind of message, and those in it."""
    yield kind
    for _, held in inner(kind):
        yield from kinds(held)


KINDS = {kind.full_name: kind for request in REQUESTS for kind in kinds(request)}.values()


def stated(rules: Message) -> dict[str, Any]:
    return {field.name: value for field, value in rules.ListFields()}


def typed(rules: validate_pb2.FieldRules) -> Any:
    """The rules of a field's type; those of a number where it has none."""
    return getattr(rules, rules.WhichOneof("type") or "int64")


def outside(rules: validate_pb2.FieldRules) -> Iterator[Limit]:
    """What just breaks the rules of a number, a text, bytes, an enum or a time."""
    kind = rules.WhichOneof("type")
    for rule, limit in stated(typed(rules)).items():
        if kind in {"timestamp", "duration"}:
            step = {"gt": 0, "lt": 0, "gte": -1, "lte": 1}[rule]
            bad = [type(limit)(seconds=limit.seconds + step)]
        else:
            bad = just_outside(rule, limit, kind or "")
        yield from (Limit(rule=rule, bad=value) for value in bad)


def just_outside(rule: str, limit: Any, kind: str) -> list[Any]:
    """Values that just break one rule."""
    whole = kind != "double"
    match rule:
        case "gt" | "lt":
            return [limit]
        case "gte" | "lte":
            up = 1 if rule == "lte" else -1
            return [limit + up if whole else math.nextafter(limit, up * math.inf)]
        case "min_len" | "max_len":
            text = "a" * (limit + (1 if rule == "max_len" else -1))
            return [text.encode() if kind == "bytes" else text]
        case "pattern":
            return [word for word in WORDS if not re.fullmatch(limit, word)]
        case _:
            others = {"defined_only": [99], "not_in": [0], "finite": [math.inf, math.nan]}
            others["in"] = [f"{limit[0]}s"] if rule == "in" else []
            assert rule in others, f"nobody knows how to break {rule}"
            return others[rule]


def limits(field: FieldDescriptor) -> Iterator[Limit]:
    """What just breaks the rules of a field, and of its elements."""
    rules = rules_of(field)
    if rules.required:
        yield Limit(rule="required", bad=None)
    if not field.is_repeated:
        yield from outside(rules)
    elif is_map(field):
        yield from map_limits(field, rules.map)
    else:
        yield from list_limits(field, rules.repeated)


def list_limits(field: FieldDescriptor, rules: Message) -> Iterator[Limit]:
    for rule, limit in stated(rules).items():
        match rule:
            case "min_items" | "max_items":
                count = limit + (1 if rule == "max_items" else -1)
                yield Limit(rule=rule, bad=partial(fillings, field, count), size=count)
            case "unique":
                yield Limit(rule=rule, bad=["a", "a"])
            case "items":
                for each in outside(limit):
                    yield Limit(rule=f"items.{each.rule}", bad=[each.bad], element="[0]")
            case _:
                pytest.fail(f"nobody knows how to break {rule}")


def map_limits(field: FieldDescriptor, rules: Message) -> Iterator[Limit]:
    held = message_in(field)
    numbers = field.message_type.fields_by_name["value"].cpp_type != TEXT
    value = good(held) if held is not None else 1.0 if numbers else "a"
    for rule, limit in stated(rules).items():
        match rule:
            case "max_pairs":
                yield Limit(rule=rule, bad={f"a{number}": value for number in range(limit + 1)})
            case "keys":
                for each in outside(limit):
                    bad, element = {each.bad: value}, f"[{each.bad}]"
                    yield Limit(rule=f"keys.{each.rule}", bad=bad, element=element)
            case "values":
                for each in outside(limit):
                    yield Limit(rule=f"values.{each.rule}", bad={"a": each.bad}, element="[a]")
            case _:
                pytest.fail(f"nobody knows how to break {rule}")


def fillings(field: FieldDescriptor, count: int) -> list[Any]:
    """Good elements."""
    if field.message_type is not None:
        return [filling(field, 0)] * count  # They are alike, and slow to make.
    return [filling(field, number) for number in range(count)]


def filling(field: FieldDescriptor, number: int) -> Any:
    """A good element, another one for every number."""
    kind = field.message_type
    if kind is not None:
        return good(kind) if is_ours(field) else GetMessageClass(kind)(seconds=1)
    if field.cpp_type != TEXT:
        return number + 1 if field.cpp_type != FieldDescriptor.CPPTYPE_ENUM else 1
    if field.type == FieldDescriptor.TYPE_BYTES:
        return f"a{number}".encode()
    rules = rules_of(field).string
    if rules.pattern:
        return next(text for text in GOOD if re.search(rules.pattern, text))
    return f"a{number}"


def good(kind: Descriptor) -> Message:
    """A message with what may not be left out, and no more."""
    message = GetMessageClass(kind)()
    for field in kind.fields:
        if f"{kind.name}.{field.name}" in REQUIRED:
            value = filling(field, 0)
            put(message, field, [value] if field.is_repeated else value)
    for oneof in kind.oneofs:
        if f"{kind.name}.{oneof.name}" in REQUIRED:
            put(message, oneof.fields[0], filling(oneof.fields[0], 0))
    return message


def put(message: Message, field: FieldDescriptor, value: Any) -> None:
    value = value() if callable(value) else value
    message.ClearField(field.name)
    if is_map(field) and message_in(field) is not None:
        for key, each in value.items():
            getattr(message, field.name)[key].CopyFrom(each)
    elif is_map(field):
        getattr(message, field.name).update(value)
    elif field.is_repeated:
        getattr(message, field.name).extend(value)
    elif isinstance(value, Message):
        getattr(message, field.name).CopyFrom(value)
    elif value is not None:
        setattr(message, field.name, value)


def places(kind: Descriptor, path: Sequence[FieldDescriptor] = ()) -> Iterator[Any]:
    """Ways to every message of a request, and the kind that is there."""
    yield path, kind
    for field, held in inner(kind):
        yield from places(held, (*path, field))


def step(field: FieldDescriptor) -> str:
    """How `reach` goes through a field, as violations tell it."""
    return f"{field.name}{'[a]' if is_map(field) else '[0]' * field.is_repeated}."


def reach(message: Message, path: Sequence[FieldDescriptor]) -> Message:
    """The message at the end of a way, made where it is not there."""
    for field in path:
        if is_map(field):
            message = getattr(message, field.name)["a"]
        elif field.is_repeated:
            parts = getattr(message, field.name)
            if not parts:
                parts.add().CopyFrom(good(field.message_type))
            message = parts[0]
        else:
            there, parent = message.HasField(field.name), message
            message = getattr(parent, field.name)
            if not there:
                message.CopyFrom(good(field.message_type))
    return message
