"""YAML text as a tree of nodes that remember where they stand, and overrides of single values."""

from __future__ import annotations

import io
import re
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from tessera.lines import first_line
from tessera.spec.place import Place, wrong

OVERRIDE = "--set "
"""How the source of an override is named."""

MAX_DEPTH = 40
"""A spec is a few levels deep."""

MAX_NODES = 200_000
"""Values with all aliases written out; the largest lists of a spec hold some ten thousand."""

_SURROGATE = re.compile("[\ud800-\udfff]")
_MERGE = "tag:yaml.org,2002:merge"


class _Source(io.StringIO):
    """Text with a name, which PyYAML puts into every mark."""

    def __init__(self, text: str, name: str) -> None:
        super().__init__(text)
        self.name = name


class _RefusedError(yaml.MarkedYAMLError):
    """YAML, but nothing that a spec can be."""


class _Loader(yaml.SafeLoader):
    """Composes nodes no deeper than a spec can be, and knows merge keys.

    Raises _RefusedError at the place that is too deep, too much or wrong.
    """

    def __init__(self, stream: Any) -> None:
        super().__init__(stream)
        self._depth = 0
        self._weights: dict[int, int] = {}

    def compose_node(self, parent: Node | None, index: Any) -> Node | None:
        """One value; aliases are the nodes that they stand for."""
        peek: Any = self.peek_event
        event = peek()
        if not isinstance(event, yaml.AliasEvent) and self._depth >= MAX_DEPTH:
            raise _broken(event, f"it is more than {MAX_DEPTH} levels deep")
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        if isinstance(node, ScalarNode) and _SURROGATE.search(node.value):
            raise _broken(node, "it holds half of a surrogate pair, which is no text")
        if isinstance(node, (MappingNode, SequenceNode)) and id(node) not in self._weights:
            if isinstance(event, yaml.AliasEvent):
                raise _broken(event, f"`*{event.anchor}` stands inside of what it names")
            if isinstance(node, MappingNode):
                node.value = _merged(node)
            self._weigh(node)
        return node

    def _weigh(self, node: MappingNode | SequenceNode) -> None:
        """Count what is below a node, aliases written out."""
        parts = node.value
        if isinstance(node, MappingNode):
            parts = [part for pair in node.value for part in pair]
        weight = 1 + sum(self._weights.get(id(part), 1) for part in parts)
        if weight > MAX_NODES:
            raise _broken(node, f"with its aliases written out it has over {MAX_NODES:,} values")
        self._weights[id(node)] = weight


def _broken(where: Any, problem: str) -> _RefusedError:
    return _RefusedError(problem=problem, problem_mark=where.start_mark)


def _merged(node: MappingNode) -> list[tuple[Node, Node]]:
    """Fields of a mapping, with those of `<<` that it does not name itself.

    As https://yaml.org/type/merge.html has it: of several mappings the earlier one wins.
    """
    own = [pair for pair in node.value if pair[0].tag != _MERGE]
    merges = [pair for pair in node.value if pair[0].tag == _MERGE]
    if len(merges) > 1:
        raise _broken(merges[1][0], "`<<` is there twice; write `<<: [*a, *b]`")
    names = {_name(key) for key, _ in own}
    for key, value in merges:
        sources = value.value if isinstance(value, SequenceNode) else [value]
        for source in sources:
            if not isinstance(source, MappingNode):
                raise _broken(key, "`<<` takes fields (name: value), or a list of such")
            for inner, given in source.value:
                if _name(inner) not in names:
                    names.add(_name(inner))
                    own.append((inner, given))
    return own


def _name(key: Node) -> tuple[str, str]:
    return (key.tag, key.value) if isinstance(key, ScalarNode) else ("", str(id(key)))


def place_of(node: Node) -> Place:
    """Where a node begins."""
    mark = node.start_mark
    if mark.name.startswith(OVERRIDE):
        return Place(source=mark.name)
    return Place(source=mark.name, line=mark.line + 1, column=mark.column + 1)


def parse(text: str, source: str) -> Node:
    """The root of a document.

    Raises:
        InvalidArgumentError: BAD_YAML, or EMPTY_SPEC where there is nothing but comments.
    """
    try:
        root = yaml.compose(_Source(text, source), Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = (
            Place(source=source, line=mark.line + 1, column=mark.column + 1)
            if mark and not source.startswith(OVERRIDE)
            else Place(source=source)
        )
        problem = error.problem or error.context or "it cannot be read"
        problem = problem if isinstance(error, _RefusedError) else f"this is not YAML: {problem}"
        raise wrong(place, problem, reason="BAD_YAML") from None
    except yaml.YAMLError as error:
        detail = first_line(error)
        raise wrong(
            Place(source=source), f"this is not YAML: {detail}", reason="BAD_YAML"
        ) from None
    if root is None:
        raise wrong(Place(source=source), "there is nothing in it", reason="EMPTY_SPEC")
    return root


def override(root: Node, assignment: str) -> Node:
    """A copy of the tree in which `key.key=value` holds; the value is YAML.

    Raises:
        InvalidArgumentError: BAD_OVERRIDE, or BAD_YAML in the value.
    """
    path, equals, value = assignment.partition("=")
    source = f"{OVERRIDE}{assignment}"
    keys = path.strip().split(".")
    if not equals or not all(keys):
        raise wrong(
            Place(source=source),
            "write it as key=value, e.g. train.lr=0.001",
            reason="BAD_OVERRIDE",
        )
    leaf = parse(value if value.strip() else "''", source)
    return _replaced(root, keys, leaf, source)


def _replaced(node: Node | None, keys: list[str], leaf: Node, source: str) -> Node:
    if not keys:
        return leaf
    if node is None or (isinstance(node, ScalarNode) and node.tag == "tag:yaml.org,2002:null"):
        node = MappingNode("tag:yaml.org,2002:map", [], leaf.start_mark, leaf.end_mark)
    if not isinstance(node, MappingNode):
        raise wrong(
            Place(source=source),
            f"`{keys[0]}` cannot be set: what is above it has no fields ({place_of(node)})",
            reason="BAD_OVERRIDE",
        )
    pairs = list(node.value)
    for index, (key, value) in enumerate(pairs):
        if isinstance(key, ScalarNode) and snake(key.value) == snake(keys[0]):
            pairs[index] = (key, _replaced(value, keys[1:], leaf, source))
            break
    else:
        key = ScalarNode("tag:yaml.org,2002:str", keys[0], leaf.start_mark, leaf.end_mark)
        pairs.append((key, _replaced(None, keys[1:], leaf, source)))
    return MappingNode(node.tag, pairs, node.start_mark, node.end_mark)


def snake(name: str) -> str:
    """`batchSize` and `batch_size` are the same field."""
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)
