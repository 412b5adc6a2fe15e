"""What is trained on and what is held out, by file. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """One file: its name, relative to what the spec names, and its content."""

    name: str
    content: str


def lot(name: str) -> float:
    """A number in [0, 1) that depends on a file's name only."""
    digest = hashlib.sha256(name.encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def split(texts: Sequence[Text], held_out: float) -> tuple[list[Text], list[Text]]:
    """Training and held-out texts; neither is empty.

    Whole files are held out, chosen by a hash of their names, so that a new file moves no other.
    A single file is cut and its tail held out.

    Args:
        texts: at least one.
        held_out: share that is held out, in (0, 1).
    """
    if len(texts) == 1:
        only = texts[0]
        cut = min(len(only.content) - 1, max(1, round(len(only.content) * (1 - held_out))))
        head, tail = only.content[:cut], only.content[cut:]
        return [Text(name=only.name, content=head)], [Text(name=only.name, content=tail)]
    kept = [text for text in texts if lot(text.name) >= held_out]
    apart = [text for text in texts if lot(text.name) < held_out]
    if not apart:
        first = min(kept, key=lambda text: lot(text.name))
        kept, apart = [text for text in kept if text is not first], [first]
    if not kept:
        last = max(apart, key=lambda text: lot(text.name))
        kept, apart = [last], [text for text in apart if text is not last]
    return kept, apart
