"""What is trained on and what is held out, by name. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """One file: its name, relative to what the spec names, and its content."""

    name: str
    content: str


def hash_fraction(name: str) -> float:
    """A number in [0, 1) that depends on a name only."""
    digest = hashlib.sha256(name.encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def hash_split(
    items: Sequence[T], names: Sequence[str], held_out: float
) -> tuple[list[T], list[T]]:
    """Training and held-out items, by a hash of their names, so that no new one moves others.

    Args:
        items: at least two, so that neither part is empty.
        names: of the items.
        held_out: share that is held out, in (0, 1).
    """
    fractions = [hash_fraction(name) for name in names]
    apart = [drawn < held_out for drawn in fractions]
    if not any(apart):
        apart[fractions.index(min(fractions))] = True
    if all(apart):
        apart[fractions.index(max(fractions))] = False
    chosen = list(zip(items, apart, strict=True))
    return [item for item, held in chosen if not held], [item for item, held in chosen if held]


def split(texts: Sequence[Text], held_out: float) -> tuple[list[Text], list[Text]]:
    """Training and held-out texts; neither is blank.

    Whole files are held out; a single file is cut and its tail held out. White space around the
    text of a file counts for nothing: a line end alone is no tail.

    Args:
        texts: at least one, none of them blank; a single one of two characters at least.
        held_out: share that is held out, in (0, 1).
    """
    if len(texts) > 1:
        return hash_split(texts, [text.name for text in texts], held_out)
    only = texts[0]
    begin = len(only.content) - len(only.content.lstrip())
    said = only.content.strip()
    share = round(len(said) * (1 - held_out))
    cut = begin + min(len(said) - 1, max(1, share))
    # White space where the cut falls goes to the head, so that a tail begins with what it says.
    cut += len(only.content[cut:]) - len(only.content[cut:].lstrip())
    parts = (only.content[:cut], only.content[cut:])
    head, tail = (Text(name=only.name, content=content) for content in parts)
    return [head], [tail]
