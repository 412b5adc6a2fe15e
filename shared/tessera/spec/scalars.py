"""What a YAML scalar means: numbers as people write them (1e-3 too), text only where it is text."""

from __future__ import annotations

import math
import re
from collections.abc import Callable

from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

STR, BOOL = "tag:yaml.org,2002:str", "tag:yaml.org,2002:bool"
INT = "tag:yaml.org,2002:int"
_KINDS = {
    STR: "the text",
    BOOL: "the truth value",
    INT: "the number",
    "tag:yaml.org,2002:float": "the number",
    "tag:yaml.org,2002:timestamp": "the date",
}
_WHOLE = re.compile(r"[-+]?\d(_?\d)*")
_NUMBER = re.compile(r"[-+]?(\d(_?\d)*\.?\d*|\.\d+)([eE][-+]?\d+)?")
_LONGEST = 60


def describe(node: Node) -> str:
    """What stands there, for a message."""
    if isinstance(node, MappingNode):
        return "a group of fields"
    if isinstance(node, SequenceNode):
        return "a list"
    assert isinstance(node, ScalarNode)
    if node.tag == "tag:yaml.org,2002:null":
        return "nothing"
    shown = node.value if len(node.value) <= _LONGEST else f"{node.value[:_LONGEST]}…"
    return f"{_KINDS.get(node.tag, 'the value')} `{shown}`"


def text(node: ScalarNode) -> str | None:
    """The text, or None: 12, yes and 2024-01-01 without quotes are none."""
    return node.value if node.tag == STR else None


def boolean(node: ScalarNode) -> bool | None:
    """The truth value, or None."""
    if node.tag != BOOL:
        return None
    return node.value.lower() in {"true", "yes", "on"}


def number(node: ScalarNode) -> float | None:
    """The finite number, or None."""
    if node.style or not _NUMBER.fullmatch(node.value):
        return None
    value = float(node.value)
    return value if math.isfinite(value) else None


def whole(bits: int) -> Callable[[ScalarNode], int | None]:
    """A reader of whole numbers that fit into so many bits, sign included; 1e6 is one."""

    def read(node: ScalarNode) -> int | None:
        if not node.style and _WHOLE.fullmatch(node.value):
            value = int(node.value)
        else:
            real = number(node)
            if real is None or not real.is_integer():
                return None
            value = int(real)
        return value if -(1 << (bits - 1)) <= value < 1 << (bits - 1) else None

    return read
