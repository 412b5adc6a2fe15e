"""A YAML file of an operator's as a tree of dataclasses; every mistake with its place.

Types say what a field takes: numbers, texts, enums, other dataclasses, lists (`tuple[X, ...]`) and
maps by text. `metadata` of a field says more: `least` and `most` (of a number, of the length of
anything else), `pattern` with its `hint` (of a text), and `based_on`: the field before it whose
value each one of a map goes by where it says nothing else.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import re
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from tessera import errors
from tessera.spec import scalars
from tessera.spec.document import content_of
from tessera.spec.place import wrong
from tessera.spec.reader import NULL, mistyped
from tessera.spec.tree import parse, place_of, snake

T = TypeVar("T")

NOTHING = "{}"
"""What a value is dumped to that is as the defaults have it."""

_SCALARS: dict[type, tuple[Any, str]] = {
    str: (scalars.text, "text"),
    bool: (scalars.boolean, "true or false"),
    float: (scalars.number, "a number"),
    int: (scalars.whole(64), "a whole number"),
}


def read(path: Path, kind: type[T]) -> T:
    """The dataclass that a file describes.

    Raises:
        InvalidArgumentError: the file is missing or no YAML, or a field is unknown, missing, of
            another type or out of range; the message begins with file:line:column.
    """
    return parse_configuration(content_of(path, str(path)), str(path), kind)


def parse_configuration(text: str, source: str, kind: type[T]) -> T:
    """Like `read`, for text that has been read already."""
    return _Reader().group(kind, parse(text, source), "", None)


def dump(value: Any, base: Any = None) -> str:
    """JSON that `parse_configuration` takes back: what is otherwise than the default.

    Args:
        value: a dataclass.
        base: one of the same kind whose values need not be told; None: that of the defaults.
    """
    return json.dumps(_differences(value, type(value)() if base is None else base))


def _differences(value: Any, base: Any) -> dict[str, Any]:
    told: dict[str, Any] = {}
    for field in dataclasses.fields(value):
        mine, default = getattr(value, field.name), getattr(base, field.name)
        if mine == default:
            continue
        if "based_on" in field.metadata:
            common = getattr(value, field.metadata["based_on"])
            told[field.name] = {name: _differences(each, common) for name, each in mine.items()}
        else:
            nested = dataclasses.is_dataclass(mine)
            told[field.name] = _differences(mine, default) if nested else mine
    return told


class _Reader:
    """Makes values of nodes. Each method takes the dotted path of what it reads."""

    def group(self, kind: type[T], node: Node, path: str, base: T | None) -> T:
        """A dataclass; what is not named is as in `base`, or has its default."""
        fields = {field.name: field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
        hints = get_type_hints(kind)
        nodes = _named(node, list(fields), path)
        values: dict[str, Any] = {}
        for name in [name for name in fields if name in nodes]:
            value = nodes[name]
            inner = f"{path}.{name}" if path else name
            if isinstance(value, ScalarNode) and value.tag == NULL:
                if type(None) in get_args(hints[name]):
                    values[name] = None
                continue
            metadata = fields[name].metadata
            before = _before(fields[name], values, base)
            made = self._value(hints[name], value, inner, before, metadata)
            _check_bounds(made, value, inner, metadata)
            values[name] = made
        _check_missing(fields, values, node, path, given=base is not None)
        try:
            made_of = dataclasses.replace(base, **values) if base is not None else kind(**values)  # type: ignore[type-var]
        except errors.InvalidArgumentError as error:
            raise _located(error, nodes, node, path) from None
        return made_of

    def _value(
        self, hint: Any, node: Node, path: str, base: Any, metadata: Mapping[str, Any]
    ) -> Any:
        if get_origin(hint) is UnionType:
            [hint] = [one for one in get_args(hint) if one is not type(None)]
        if get_origin(hint) is tuple:
            if not isinstance(node, SequenceNode):
                raise mistyped(node, "a list ([a, b])", path)
            item = get_args(hint)[0]
            return tuple(
                self._value(item, each, f"{path}[{index}]", None, {})
                for index, each in enumerate(node.value)
            )
        if get_origin(hint) is not None:
            return self._map(
                get_args(hint)[1], node, path, base if "based_on" in metadata else None
            )
        if dataclasses.is_dataclass(hint):
            return self.group(hint, node, path, base)  # type: ignore[arg-type]
        if issubclass(hint, Enum):
            return _choice(hint, node, path)
        return _scalar(hint, node, path)

    def _map(self, hint: Any, node: Node, path: str, base: Any) -> dict[str, Any]:
        if not isinstance(node, MappingNode):
            raise mistyped(node, "names and values ({name: value})", path)
        made: dict[str, Any] = {}
        for key, value in node.value:
            name = str(_scalar(str, key, f"{path} (name)"))
            if name in made:
                raise wrong(
                    place_of(key),
                    f"`{name}` is there twice in `{path}`",
                    reason="DUPLICATE_FIELD",
                    field=f"{path}[{name}]",
                )
            made[name] = self._value(hint, value, f"{path}[{name}]", base, {})
        return made


def _named(node: Node, names: list[str], path: str) -> dict[str, Node]:
    """The values of a mapping by the fields that they are for."""
    if not isinstance(node, MappingNode):
        raise mistyped(node, "fields (name: value)", path or "the file")
    nodes: dict[str, Node] = {}
    for key, value in node.value:
        given = key.value if isinstance(key, ScalarNode) else scalars.describe(key)
        name, inner = snake(given), f"{path}.{given}" if path else given
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1)
            hint = f"did you mean `{near[0]}`?" if near else f"there are: {', '.join(names)}"
            inside = f" in `{path}`" if path else ""
            problem = f"unknown field `{given}`{inside}; {hint}"
            raise wrong(place_of(key), problem, reason="UNKNOWN_FIELD", field=inner)
        if name in nodes:
            problem = f"`{inner}` is there twice"
            raise wrong(place_of(key), problem, reason="DUPLICATE_FIELD", field=inner)
        nodes[name] = value
    return nodes


def _before(field: dataclasses.Field[Any], values: Mapping[str, Any], base: Any) -> Any:
    """What a field's value goes by where it says nothing else."""
    name = field.metadata.get("based_on", field.name)
    if name in values:
        return values[name]
    if base is not None:
        return getattr(base, name)
    if "based_on" in field.metadata or field.default_factory is dataclasses.MISSING:
        return None
    return field.default_factory()


def _choice(kind: type[Enum], node: Node, path: str) -> Enum:
    known = [str(member.value) for member in kind]
    if not isinstance(node, ScalarNode) or node.value not in known:
        raise mistyped(node, f"one of {', '.join(known)}", path)
    return kind(node.value)


def _scalar(kind: type, node: Node, path: str) -> Any:
    reader, expected = _SCALARS[kind]
    value = reader(node) if isinstance(node, ScalarNode) else None
    if value is None:
        quotes = kind is str and isinstance(node, ScalarNode)
        raise mistyped(node, expected, path, "; put it in quotes" if quotes else "")
    return value


def _check_bounds(value: Any, node: Node, path: str, metadata: Mapping[str, Any]) -> None:
    """Hold a value to what its field's metadata say."""
    number = isinstance(value, int | float)
    size = value if number else len(value) if hasattr(value, "__len__") else 0
    what = "" if number else " characters" if isinstance(value, str) else " in number"
    problem = ""
    if "least" in metadata and size < metadata["least"]:
        problem = f"at least {metadata['least']:,}{what}"
    elif "most" in metadata and size > metadata["most"]:
        problem = f"at most {metadata['most']:,}{what}"
    elif "pattern" in metadata and not re.fullmatch(metadata["pattern"], value):
        problem = metadata["hint"]
    if problem:
        shown = f"; here is {size:,}" if number else ""
        problem = f"`{path}` must be {problem}{shown}"
        raise wrong(place_of(node), problem, reason="INVALID_FIELD", field=path)


def _check_missing(
    fields: Mapping[str, dataclasses.Field[Any]],
    values: Mapping[str, Any],
    node: Node,
    path: str,
    *,
    given: bool,
) -> None:
    for name, field in fields.items():
        defaults = (field.default, field.default_factory)
        if name not in values and not given and defaults == (dataclasses.MISSING,) * 2:
            inner = f"{path}.{name}" if path else name
            raise wrong(
                place_of(node), f"`{inner}` is missing", reason="INVALID_FIELD", field=inner
            )


def _located(
    error: errors.InvalidArgumentError, nodes: Mapping[str, Node], node: Node, path: str
) -> errors.InvalidArgumentError:
    """What a dataclass says of its fields, with the place of the field that it names."""
    if not error.violations:
        return error
    name, description = error.violations[0].field, error.violations[0].description
    inner = f"{path}.{name}" if path else name
    at = nodes.get(re.split(r"[.\[]", name)[0], node)
    return wrong(place_of(at), f"`{inner}` {description}", reason=error.reason, field=inner)
