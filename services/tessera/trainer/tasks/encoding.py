"""The tokens of records, many texts encoded at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from tessera.data.record import Record
from tessera.text.tokenizer import Tokenizer
from tessera.trainer.tasks.frames import Ids, framed, framed_pair

_GROUP = 256
"""Records that are encoded at once."""


def tokenize_records(
    tokenizer: Tokenizer, records: Sequence[Record], *roles: str
) -> Iterator[tuple[Any, ...]]:
    """Every record with the ids of its text in each role; a text that is missing has none."""
    for at in range(0, len(records), _GROUP):
        group = records[at : at + _GROUP]
        texts = (
            tokenizer.encode_batch([str(record.values.get(role, "")) for record in group])
            for role in roles
        )
        yield from zip(group, *texts, strict=True)


def frame_records(
    tokenizer: Tokenizer, records: Sequence[Record], longest: int
) -> Iterator[tuple[Record, Ids, int]]:
    """Every record with its text, or two, as a model reads them.

    Args:
        tokenizer: of the texts.
        records: with a `text` and perhaps a `text_pair`.
        longest: tokens of a sequence.

    Yields:
        A record, its tokens, and the place where the second text begins: behind the last token
        where there is none.
    """
    frame = tokenizer.frame()
    for record, first, other in tokenize_records(tokenizer, records, "text", "text_pair"):
        if "text_pair" in record.values:
            yield record, *framed_pair(first, other, frame, longest)
        else:
            tokens = framed(first, frame, longest)
            yield record, tokens, len(tokens)
