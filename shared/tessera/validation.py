"""The limits that the .proto files state, as Tessera's errors. No gRPC."""

from __future__ import annotations

from typing import Any, TypeVar

import protovalidate
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from buf.validate import validate_pb2
from tessera import errors

M = TypeVar("M", bound=Message)


def violations(message: Message) -> list[errors.Violation]:
    """Every field of `message` that breaks a limit, with its dotted path."""
    return [
        errors.Violation(_path(found), found.proto.message)
        for found in protovalidate.collect_violations(message)
    ]


def check(message: Message) -> None:
    """Raise InvalidArgumentError if `message` breaks a limit."""
    found = violations(message)
    if found:
        first = found[0]
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        raise errors.InvalidArgumentError(
            f"{first.field}: {first.description}{more}", reason="INVALID_FIELD", violations=found
        )


def fit(message: M) -> M:
    """Cut what is longer than its limit: texts to their beginning, maps to their first pairs.

    For what a program tells of itself and of others' errors, whose length nobody chose; a message
    that is refused for it would be lost whole. Returns the message.
    """
    for field, value in message.ListFields():
        rules = field.GetOptions().Extensions[validate_pb2.field]
        if _is_map(field):
            _fit_map(value, rules.map)
        elif isinstance(value, str):
            setattr(message, field.name, _fit_text(value, rules.string))
        elif isinstance(value, Message):
            fit(value)
    return message


def _fit_map(values: Any, rules: validate_pb2.MapRules) -> None:
    kept = list(values.items())
    if rules.HasField("max_pairs"):
        kept = kept[: rules.max_pairs]
    if kept and isinstance(kept[0][1], Message):
        # Messages go in and out of a map by copies, and nobody but a person names these.
        return
    values.clear()
    for name, value in kept:
        fitting = _fit_text(value, rules.values.string) if isinstance(value, str) else value
        values[_fit_text(name, rules.keys.string)] = fitting


def _fit_text(text: str, rules: validate_pb2.StringRules) -> str:
    return text[: rules.max_len] if rules.HasField("max_len") else text


def _is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and bool(field.message_type.GetOptions().map_entry)


def _path(violation: protovalidate.Violation) -> str:
    parts: list[str] = []
    path = violation.proto.field
    for element in path.elements if path else ():
        subscript = element.subscript
        suffix = "" if subscript is None else f"[{subscript.value}]"
        parts.append(f"{element.field_name}{suffix}")
    return ".".join(parts)
