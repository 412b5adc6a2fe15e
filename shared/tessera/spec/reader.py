"""From a tree of nodes to a message, by its descriptor; every mistake with its place."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from tessera import errors
from tessera.spec import scalars
from tessera.spec.place import Place, wrong
from tessera.spec.tree import place_of

NULL = "tag:yaml.org,2002:null"


class MessageReader:
    """Fills a message from nodes and remembers where each field stood.

    `places` maps dotted paths to the place of the value, `keys` to that of the name before it.
    """

    def __init__(self) -> None:
        self.places: dict[str, Place] = {}
        self.keys: dict[str, Place] = {}

    def fill(self, message: Message, node: Node, path: str = "") -> None:
        """Set the fields of `message` that `node` names.

        Raises:
            InvalidArgumentError: UNKNOWN_FIELD, DUPLICATE_FIELD or WRONG_TYPE.
        """
        self.places[path] = place_of(node)
        if not isinstance(node, MappingNode):
            raise mistyped(node, "fields (name: value)", path)
        known = _names(message)
        seen: dict[str, Place] = {}
        for key, value in node.value:
            name = key.value if isinstance(key, ScalarNode) else scalars.describe(key)
            field = known.get(name)
            if field is None:
                raise _unknown(key, name, message, path)
            inner = f"{path}.{field.name}" if path else field.name
            if field.name in seen:
                raise wrong(
                    place_of(key),
                    f"`{name}` is there twice, first in {_line(seen[field.name])}",
                    reason="DUPLICATE_FIELD",
                    field=inner,
                )
            seen[field.name] = self.keys[inner] = place_of(key)
            if isinstance(value, ScalarNode) and value.tag == NULL:
                self.places[inner] = place_of(value)
            else:
                self._field(message, field, value, inner)

    def _field(self, message: Message, field: FieldDescriptor, node: Node, path: str) -> None:
        self.places[path] = place_of(node)
        if _is_map(field):
            self._map(message, field, node, path)
        elif field.is_repeated:
            self._list(message, field, node, path)
        elif field.message_type is not None:
            inner = getattr(message, field.name)
            inner.SetInParent()
            self.fill(inner, node, path)
        else:
            setattr(message, field.name, scalar(field, node, path))

    def _list(self, message: Message, field: FieldDescriptor, node: Node, path: str) -> None:
        if not isinstance(node, SequenceNode):
            raise mistyped(node, "a list ([a, b])", path)
        target = getattr(message, field.name)
        for index, item in enumerate(node.value):
            inner = f"{path}[{index}]"
            self.places[inner] = place_of(item)
            if field.message_type is not None:
                self.fill(target.add(), item, inner)
            else:
                target.append(scalar(field, item, inner))

    def _map(self, message: Message, field: FieldDescriptor, node: Node, path: str) -> None:
        if not isinstance(node, MappingNode):
            raise mistyped(node, "names and values ({name: value})", path)
        entry = field.message_type
        assert entry is not None
        target = getattr(message, field.name)
        for key, value in node.value:
            name = _key(entry.fields_by_name["key"], key, f"{path} (name)")
            inner = f"{path}[{name}]"
            if name in target:
                raise wrong(
                    place_of(key),
                    f"`{name}` is there twice, first in {_line(self.keys[inner])}",
                    reason="DUPLICATE_FIELD",
                    field=inner,
                )
            self.keys[inner], self.places[inner] = place_of(key), place_of(value)
            if isinstance(value, SequenceNode) and path == "data.columns":
                hint = '; columns are joined in one text: "{title} {body}"'
                raise mistyped(value, "text", inner, hint)
            if path == "secrets" and isinstance(value, ScalarNode):
                # Whoever wrote the value itself does not want to read it in a message.
                raise wrong(
                    place_of(value),
                    f"`{inner}` says where the pool keeps the value, never the value itself: "
                    "{env: NAME}, {file: NAME} or {kubernetes: {name: NAME, key: KEY}}",
                    reason="WRONG_TYPE",
                    field=inner,
                )
            if entry.fields_by_name["value"].message_type is not None:
                self.fill(target[name], value, inner)
            else:
                target[name] = scalar(entry.fields_by_name["value"], value, inner)


def scalar(field: FieldDescriptor, node: Node, path: str) -> Any:
    """The value of a scalar field.

    Raises:
        InvalidArgumentError: WRONG_TYPE.
    """
    readers: dict[int, tuple[Callable[[ScalarNode], Any], str]] = {
        FieldDescriptor.CPPTYPE_STRING: (scalars.text, "text"),
        FieldDescriptor.CPPTYPE_BOOL: (scalars.boolean, "true or false"),
        FieldDescriptor.CPPTYPE_DOUBLE: (scalars.number, "a number"),
        FieldDescriptor.CPPTYPE_FLOAT: (scalars.number, "a number"),
        FieldDescriptor.CPPTYPE_INT32: (scalars.whole(32), "a whole number"),
        FieldDescriptor.CPPTYPE_INT64: (scalars.whole(64), "a whole number"),
    }
    read, expected = readers[field.cpp_type]
    value = read(node) if isinstance(node, ScalarNode) else None
    if value is None:
        hint = "; put it in quotes" if read is scalars.text and isinstance(node, ScalarNode) else ""
        raise mistyped(node, expected, path, hint)
    return value


def _key(field: FieldDescriptor, node: Node, path: str) -> Any:
    """A name on the left of a colon: there a plain number or truth value is its own text."""
    if isinstance(node, ScalarNode) and not node.style and node.tag in {scalars.INT, scalars.BOOL}:
        return node.value
    return scalar(field, node, path)


def mistyped(node: Node, expected: str, path: str, hint: str = "") -> errors.InvalidArgumentError:
    """The error for a value of the wrong kind."""
    subject = f"`{path}`" if path else "the spec"
    found = scalars.describe(node)
    return wrong(
        place_of(node),
        f"{subject} must be {expected}, but here is {found}{hint}",
        reason="WRONG_TYPE",
        field=path,
    )


def _unknown(key: Node, name: str, message: Message, path: str) -> errors.InvalidArgumentError:
    near = difflib.get_close_matches(name, _names(message), n=1)
    inside = f" in `{path}`" if path else ""
    names = ", ".join(field.name for field in message.DESCRIPTOR.fields)
    hint = f"did you mean `{near[0]}`?" if near else f"there are: {names}"
    field = f"{path}.{name}" if path else name
    return wrong(
        place_of(key),
        f"unknown field `{name}`{inside}; {hint}",
        reason="UNKNOWN_FIELD",
        field=field,
    )


def _names(message: Message) -> dict[str, FieldDescriptor]:
    """Fields by both of their spellings."""
    names: dict[str, FieldDescriptor] = {}
    fields: Any = message.DESCRIPTOR.fields
    for field in fields:
        names |= {field.name: field, field.json_name: field}
    return names


def _is_map(field: FieldDescriptor) -> bool:
    kind = field.message_type
    return kind is not None and kind.GetOptions().map_entry


def _line(place: Place) -> str:
    return f"line {place.line}" if place.line else place.source
