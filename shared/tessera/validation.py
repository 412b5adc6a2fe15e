"""The limits that the .proto files state, as Tessera's errors. No gRPC."""

from __future__ import annotations

import protovalidate
from google.protobuf.message import Message

from tessera import errors


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


def _path(violation: protovalidate.Violation) -> str:
    parts: list[str] = []
    path = violation.proto.field
    for element in path.elements if path else ():
        subscript = element.subscript
        suffix = "" if subscript is None else f"[{subscript.value}]"
        parts.append(f"{element.field_name}{suffix}")
    return ".".join(parts)
