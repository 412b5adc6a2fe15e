"""What kinds of messages look like, asked once: descriptors are slow to ask."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from google.protobuf.descriptor import Descriptor
from google.protobuf.descriptor import FieldDescriptor as Field
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from buf.validate import validate_pb2

from .values import needed


@dataclass(frozen=True, slots=True)
class Shape:
    """What a kind of message looks like: its fields, and what it needs.

    Args:
        make: an empty one.
        name: of the kind, in full.
        fields: all of them, in the order of the .proto file.
        lone: those of no oneof, or optional; with each, whether a message needs it.
        choices: the others, by oneof; with each, whether one of them is required.
        spec: whether it is part of what the controller takes, of which much excludes much.
    """

    make: Callable[[], Message]
    name: str
    fields: tuple[Field, ...]
    lone: tuple[tuple[Field, bool], ...]
    choices: tuple[tuple[tuple[Field, ...], bool], ...]
    spec: bool


@cache
def shape_of(kind: Descriptor) -> Shape:
    fields = tuple(kind.fields)
    return Shape(
        make=GetMessageClass(kind),
        name=kind.full_name,
        fields=fields,
        lone=tuple((field, needed(field)) for field in fields if _lone(field)),
        choices=tuple(
            (tuple(one.fields), one.GetOptions().Extensions[validate_pb2.oneof].required)
            for one in kind.oneofs
            if len(one.fields) > 1 or not one.fields[0].has_presence
        ),
        spec=kind.full_name.startswith("tessera.api.controller.v1."),
    )


@cache
def is_map(field: Field) -> bool:
    """Whether a field holds pairs."""
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def _lone(field: Field) -> bool:
    """Whether a field is of no oneof, or optional."""
    return field.containing_oneof is None or len(field.containing_oneof.fields) == 1
