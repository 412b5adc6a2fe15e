"""Spans: of entities among tags, and of answers among tokens. Pure."""

from __future__ import annotations

from collections.abc import Sequence

Span = tuple[int, int, str]
"""First place, place after the last, type."""


def is_bio(labels: Sequence[str]) -> bool:
    """Whether tags say which token begins an entity and which are inside of it."""
    found = [name for name in labels if name != "O"]
    return bool(found) and all(name[:2] in {"B-", "I-"} and name[2:] for name in found)


def entities(tags: Sequence[str]) -> set[Span]:
    """The entities that BIO tags mark.

    An inside that follows no entity of its type begins one, as in the evaluation of CoNLL-2000.
    """
    found: set[Span] = set()
    begin, kind = 0, ""
    for place, tag in enumerate([*tags, "O"]):
        prefix, _, name = tag.partition("-")
        if kind and (prefix != "I" or name != kind):
            found.add((begin, place, kind))
            kind = ""
        if not kind and prefix in {"B", "I"}:
            begin, kind = place, name
    return found


def covering(offsets: Sequence[tuple[int, int]], begin: int, end: int) -> tuple[int, int] | None:
    """First and last of the tokens that hold characters of a text; None: no token does.

    Args:
        offsets: characters of each token (from, to), in order.
        begin: first character.
        end: the one after the last.
    """
    inside = [
        place
        for place, (first, last) in enumerate(offsets)
        if first < end and last > begin and first < last
    ]
    return (inside[0], inside[-1]) if inside else None


def windows(length: int, room: int, overlap: int) -> list[tuple[int, int]]:
    """Where to cut a long context: places (from, to) that together hold all of it.

    Args:
        length: of the context, in tokens.
        room: tokens of a window at most.
        overlap: tokens that two neighbours share, if that leaves a step of one.
    """
    step = max(1, room - overlap)
    last = max(0, length - room)
    begins = [*range(0, last, step), last]
    return [(begin, min(begin + room, length)) for begin in begins]
