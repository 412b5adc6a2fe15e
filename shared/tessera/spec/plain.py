"""Messages as plain dicts and lists, with numbers as numbers: for YAML and for machines."""

from __future__ import annotations

import json
from typing import Any

import yaml
from google.protobuf import json_format, struct_pb2, timestamp_pb2
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message


def plain(message: Message, *, zeros: bool = False) -> Any:
    """A message with the .proto's field names; enums are names, times are RFC 3339.

    Args:
        message: any message of ours.
        zeros: also fields without presence that are zero or empty.
    """
    if isinstance(message, timestamp_pb2.Timestamp):
        return message.ToJsonString()
    if isinstance(message, struct_pb2.Struct):
        return json_format.MessageToDict(message)
    fields: Any = message.DESCRIPTOR.fields
    values: dict[str, Any] = {}
    for field in fields:
        value = getattr(message, field.name)
        absent = not message.HasField(field.name) if field.has_presence else not (value or zeros)
        if not absent:
            values[field.name] = _value(field, value, zeros=zeros)
    return values


def dump(message: Message) -> str:
    """YAML that the reader of specs takes back, fields in the .proto's order."""
    values = plain(message)
    # PyYAML leaves unusual line ends as they are, and reads them back as spaces.
    readable = json.dumps(values, ensure_ascii=False).isprintable()
    text: str = yaml.safe_dump(values, sort_keys=False, allow_unicode=readable, width=100)
    return text


def _value(field: FieldDescriptor, value: Any, *, zeros: bool) -> Any:
    kind = field.message_type
    if kind is not None and kind.GetOptions().map_entry:
        inner = kind.fields_by_name["value"]
        return {key: _single(inner, value[key], zeros=zeros) for key in sorted(value)}
    if field.is_repeated:
        return [_single(field, item, zeros=zeros) for item in value]
    return _single(field, value, zeros=zeros)


def _single(field: FieldDescriptor, value: Any, *, zeros: bool) -> Any:
    if field.message_type is not None:
        return plain(value, zeros=zeros)
    if field.enum_type is not None:
        known = field.enum_type.values_by_number.get(value)
        return known.name if known else value
    if isinstance(value, bytes):
        return value.hex()
    return value
