"""YAML text as a tree of nodes that remember where they stand, and overrides of single values."""

from __future__ import annotations

import io

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode

from tessera.lines import first_line
from tessera.spec.place import Place, wrong

OVERRIDE = "--set "
"""How the source of an override is named."""


class _Source(io.StringIO):
    """Text with a name, which PyYAML puts into every mark."""

    def __init__(self, text: str, name: str) -> None:
        super().__init__(text)
        self.name = name


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
        root = yaml.compose(_Source(text, source), Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = (
            Place(source=source, line=mark.line + 1, column=mark.column + 1)
            if mark and not source.startswith(OVERRIDE)
            else Place(source=source)
        )
        problem = error.problem or error.context or "it cannot be read"
        raise wrong(place, f"this is not YAML: {problem}", reason="BAD_YAML") from None
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
