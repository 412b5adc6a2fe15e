"""The JSON schema of a spec, for editors, made from the descriptors and comments of the .proto."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from buf.validate import validate_pb2
from tessera.api.controller.v1.spec_pb2 import JobSpec
from tessera.models.registry import FAMILIES
from tessera.models.tasks import TASKS

Schema = dict[str, Any]

_TYPES = {
    FieldDescriptor.CPPTYPE_STRING: "string",
    FieldDescriptor.CPPTYPE_BOOL: "boolean",
    FieldDescriptor.CPPTYPE_DOUBLE: "number",
    FieldDescriptor.CPPTYPE_INT32: "integer",
    FieldDescriptor.CPPTYPE_INT64: "integer",
}
_KNOWN: Mapping[str, Mapping[str, object]] = {
    "tessera.api.controller.v1.ModelSpec.family": FAMILIES,
    "tessera.api.controller.v1.TaskSpec.kind": TASKS,
}
"""Fields whose values this build knows, though the .proto leaves them open."""

_BOUNDS = {
    "gte": "minimum",
    "lte": "maximum",
    "gt": "exclusiveMinimum",
    "lt": "exclusiveMaximum",
}


def json_schema() -> Schema:
    """The schema (draft 2020-12) that every spec fulfils; limits and descriptions included."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Tessera job",
        **_message(JobSpec.DESCRIPTOR),
    }


@cache
def descriptions() -> dict[str, str]:
    """Comments of the .proto, by full name of message or field."""
    text = resources.files("tessera.api").joinpath("descriptions.json").read_text("utf-8")
    found: dict[str, str] = json.loads(text)
    return found


def _message(kind: Descriptor) -> Schema:
    required = [field.name for field in kind.fields if _is_required(field)]
    return {
        **_description(kind.full_name),
        "type": "object",
        "properties": {field.name: _field(field) for field in kind.fields},
        **({"required": required} if required else {}),
        "additionalProperties": False,
    }


def _field(field: FieldDescriptor) -> Schema:
    rules, kind = _rules(field), field.message_type
    described = _description(field.full_name)
    if kind is not None and kind.GetOptions().map_entry:
        inner, names = kind.fields_by_name["value"], _limits(rules.map.keys)
        values = _message(inner.message_type) if inner.message_type else _scalar(inner)
        schema: Schema = {
            "type": "object",
            "additionalProperties": {**values, **_limits(rules.map.values)},
            **({"propertyNames": names} if names else {}),
            **({"maxProperties": rules.map.max_pairs} if rules.map.max_pairs else {}),
        }
    elif field.is_repeated:
        schema = {
            "type": "array",
            "items": {**_scalar(field), **_limits(rules.repeated.items)},
            **({"minItems": rules.repeated.min_items} if rules.repeated.min_items else {}),
            **({"maxItems": rules.repeated.max_items} if rules.repeated.max_items else {}),
            **({"uniqueItems": True} if rules.repeated.unique else {}),
        }
    elif kind is not None:
        schema = _message(kind)
    else:
        known = _KNOWN.get(field.full_name)
        schema = {**_scalar(field), **_limits(rules), **({"enum": list(known)} if known else {})}
    return {**schema, **described}


def _scalar(field: FieldDescriptor) -> Schema:
    return {"type": _TYPES[field.cpp_type]}


def _limits(rules: validate_pb2.FieldRules) -> Schema:
    name = rules.WhichOneof("type")
    if name is None:
        return {}
    typed = getattr(rules, name)
    if name != "string":
        return {key: getattr(typed, rule) for rule, key in _BOUNDS.items() if typed.HasField(rule)}
    lengths = {"min_len": "minLength", "max_len": "maxLength", "pattern": "pattern"}
    limits = {key: getattr(typed, rule) for rule, key in lengths.items() if typed.HasField(rule)}
    values = getattr(typed, "in")
    return {**limits, **({"enum": list(values)} if values else {})}


def _is_required(field: FieldDescriptor) -> bool:
    """Whether leaving the field out breaks one of its limits."""
    rules = _rules(field)
    if rules.required or rules.repeated.min_items:
        return True
    if field.has_presence or field.is_repeated or rules.WhichOneof("type") != "string":
        return False
    return bool(rules.string.min_len) or not re.search(rules.string.pattern, "")


def _rules(field: FieldDescriptor) -> validate_pb2.FieldRules:
    rules: validate_pb2.FieldRules = field.GetOptions().Extensions[validate_pb2.field]
    return rules


def _description(name: str) -> Schema:
    text = descriptions().get(name, "")
    return {"description": text} if text else {}
