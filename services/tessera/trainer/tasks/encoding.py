"""The tokens of records, many texts encoded at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from tessera.data.record import Record
from tessera.text.tokenizer import Tokenizer

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
