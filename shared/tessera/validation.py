"""The limits that the .proto files state, as Tessera's errors. No gRPC."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any, TypeVar

import protovalidate
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from buf.validate import validate_pb2
from tessera import errors

M = TypeVar("M", bound=Message)


def violations(message: Message) -> list[errors.Violation]:
    """Every field of `message` that breaks a limit, with its dotted path.

    A list that is too long is told alone: to look at each of its elements would take as long as
    somebody likes.
    """
    if too_long := list(_too_long(message)):
        return too_long
    stated = [
        errors.Violation(_path(found), found.proto.message)
        for found in protovalidate.collect_violations(message)
    ]
    return stated + list(_untimely(message))


def check(message: Message) -> None:
    """Raise InvalidArgumentError if `message` breaks a limit."""
    found = violations(message)
    if found:
        first = found[0]
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        raise errors.InvalidArgumentError(
            f"{first.field}: {first.description}{more}", reason="INVALID_FIELD", violations=found
        )


def _too_long(message: Message, way: str = "") -> Iterator[errors.Violation]:
    """Lists of the message, and of messages in it that are no elements of others."""
    for field, value in message.ListFields():
        if _is_map(field):
            continue
        if field.is_repeated:
            most = field.GetOptions().Extensions[validate_pb2.field].repeated.max_items
            if most and len(value) > most:
                yield errors.Violation(f"{way}{field.name}", f"must have at most {most:,} items")
        elif isinstance(value, Message):
            yield from _too_long(value, f"{way}{field.name}.")


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


def _untimely(message: Message, path: str = "") -> Iterator[errors.Violation]:
    """Times and durations that are none: their own type has limits that no .proto repeats.

    Whoever turns one into a number without this gets an error that is nobody's mistake.
    """
    if not _holds_times(message.DESCRIPTOR):
        return
    for field, value in message.ListFields():
        held = field.message_type
        if held is None or held.GetOptions().map_entry or not _holds_times(held):
            continue
        for index, each in enumerate(value if field.is_repeated else [value]):
            at = f"{path}{field.name}{f'[{index}]' if field.is_repeated else ''}"
            if held.full_name not in _TIMES:
                yield from _untimely(each, f"{at}.")
            elif not _TIMES[held.full_name](each):
                yield errors.Violation(at, f"it is no valid {held.name}")


def _is_time(stamp: Any) -> bool:
    return stamp.seconds in _YEARS and 0 <= stamp.nanos < _SECOND


def _is_duration(span: Any) -> bool:
    signs = {(part > 0) - (part < 0) for part in (span.seconds, span.nanos)} - {0}
    fits = abs(span.seconds) <= 315_576_000_000 and abs(span.nanos) < _SECOND  # noqa: PLR2004
    return fits and len(signs) < 2  # noqa: PLR2004 - both signs would be two


_SECOND = 1_000_000_000
_YEARS = range(-62_135_596_800, 253_402_300_800)
"""Seconds of the years 1 to 9999."""
_TIMES = {
    "google.protobuf.Timestamp": _is_time,
    "google.protobuf.Duration": _is_duration,
}


@cache
def _holds_times(kind: Descriptor) -> bool:
    """Whether a message is a time, or has one in it."""
    if kind.full_name in _TIMES:
        return True
    held = (field.message_type for field in kind.fields if field.message_type is not None)
    # Of others' messages only those count; a Struct holds itself.
    return any(
        inner.full_name in _TIMES
        or (not inner.full_name.startswith("google.") and _holds_times(inner))
        for inner in held
    )


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
