"""Setting fields that are not set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from google.protobuf.message import Message

Value = str | int | float | bool | Sequence[str]


def fill(message: Message, values: Mapping[str, Value]) -> None:
    """Set those fields that are not set; one without presence is set when it is not empty."""
    for name, value in values.items():
        field = message.DESCRIPTOR.fields_by_name[name]
        present = message.HasField(name) if field.has_presence else bool(getattr(message, name))
        if present:
            continue
        if field.is_repeated:
            getattr(message, name).extend(value)
        else:
            setattr(message, name, value)
