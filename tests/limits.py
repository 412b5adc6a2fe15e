"""Limits that .proto files state of requests: what just breaks each, and messages to break."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from buf.validate import validate_pb2
from tessera.api.controller.v1 import job_pb2
from tessera.api.inference.v1 import inference_pb2

REQUESTS = [
    method.input_type
    for file in (inference_pb2, job_pb2)
    for service in file.DESCRIPTOR.services_by_name.values()
    for method in service.methods
]
# What may not be left out.
REQUIRED = {
    *(f"{name}Request.model" for name in ("Answer", "Classify", "Embed", "FillMask", "Generate")),
    *(f"{name}Request.model" for name in ("GetModel", "Score", "Translate")),
    *(f"{name}Request.inputs" for name in ("Classify", "Embed", "FillMask", "Translate")),
    *(f"{name}Request.name" for name in ("CancelJob", "CheckpointJob", "GetJob", "WatchJob")),
    *(f"{name}Request.name" for name in ("StreamLogs", "StreamMetrics")),
    "GenerateRequest.input",
    "Input.value",
    "AnswerRequest.questions",
    "Question.question",
    "Question.context",
    "ScoreRequest.texts",
    "ScoredText.target",
    "CreateJobRequest.spec",
    "JobSpec.name",
    "JobSpec.model",
    "JobSpec.data",
    "ModelSpec.family",
    "DataSpec.files",
    "AcceleratorSpec.type",
    "KubernetesSecretSpec.name",
    "KubernetesSecretSpec.key",
}
WORDS = ("", "-", "A b", "a" * 64)
TEXT = FieldDescriptor.CPPTYPE_STRING


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """A rule: the value that just breaks it, and where in the field that is named then."""

    rule: str
    bad: Any
    element: str = ""


def rules_of(field: FieldDescriptor) -> validate_pb2.FieldRules:
    return field.GetOptions().Extensions[validate_pb2.field]


def is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def message_in(field: FieldDescriptor) -> Descriptor | None:
    """The kind of message that a field, a list or a map holds; None: it holds plain values."""
    held = field.message_type.fields_by_name["value"] if is_map(field) else field
    return held.message_type


def inner(kind: Descriptor) -> Iterator[tuple[FieldDescriptor, Descriptor]]:
    """The fields that hold messages, and which."""
    return ((each, held) for each in kind.fields if (held := message_in(each)) is not None)


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
    """What just breaks the rules of a number or a text."""
    whole = rules.WhichOneof("type") != "double"
    for rule, limit in stated(typed(rules)).items():
        match rule:
            case "gt" | "lt":
                bad = [limit]
            case "gte":
                bad = [limit - 1 if whole else math.nextafter(limit, -math.inf)]
            case "lte":
                bad = [limit + 1 if whole else math.nextafter(limit, math.inf)]
            case "min_len" | "max_len":
                bad = ["a" * (limit + (1 if rule == "max_len" else -1))]
            case "in":
                bad = [f"{limit[0]}s"]
            case "pattern":
                bad = [word for word in WORDS if not re.search(limit, word)]
            case _:
                pytest.fail(f"nobody knows how to break {rule}")
        yield from (Limit(rule=rule, bad=value) for value in bad)


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
                yield Limit(rule=rule, bad=[filling(field, number) for number in range(count)])
            case "unique":
                yield Limit(rule=rule, bad=["a", "a"])
            case "items":
                for each in outside(limit):
                    yield Limit(rule=f"items.{each.rule}", bad=[each.bad], element="[0]")
            case _:
                pytest.fail(f"nobody knows how to break {rule}")


def map_limits(field: FieldDescriptor, rules: Message) -> Iterator[Limit]:
    held = message_in(field)
    value = "a" if held is None else good(held)
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


def filling(field: FieldDescriptor, number: int) -> Any:
    """A good element, another one for every number."""
    if field.message_type is not None:
        return good(field.message_type)
    return f"a{number}" if field.cpp_type == TEXT else number


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
            message = parts[0] if parts else parts.add()
        else:
            there, parent = message.HasField(field.name), message
            message = getattr(parent, field.name)
            if not there:
                message.CopyFrom(good(field.message_type))
    return message
