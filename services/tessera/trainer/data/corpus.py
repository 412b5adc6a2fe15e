"""The text of a run as two lines of tokens, made once on each host and shared by its ranks."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from tessera.data.record import Record
from tessera.data.settings import DataSettings
from tessera.data.split import Text
from tessera.text.tokenizer import Tokenizer
from tessera.trainer.data.hosts import on_hosts
from tessera.trainer.data.prepared import prepare_table
from tessera.trainer.data.read import read_texts
from tessera.trainer.data.sources import ReadBlob
from tessera.trainer.data.table import Sample
from tessera.trainer.failure import UserError
from tessera.trainer.ranks import Ranks

Line = NDArray[Any]
"""[N] token ids of the smallest type that holds all of them."""

_GROUP = 64
"""Texts that are encoded at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpus:
    """Tokens to train on and tokens held out; `digest` tells one corpus from another."""

    train: Line
    held_out: Line
    digest: str


def prepare(
    ranks: Ranks,
    data: DataSettings,
    read_blob: ReadBlob,
    tokenizer_of: Callable[[Sequence[str]], Tokenizer],
    root: Path | None = None,
    *,
    begins: bool = False,
) -> tuple[Corpus, Tokenizer]:
    """Read, split, get the tokenizer, encode; every rank calls it.

    Args:
        ranks: the first rank of each host reads and encodes.
        data: names the files.
        read_blob: reads uploads.
        tokenizer_of: gives the tokenizer for the training texts, which only the first rank of each
            host has; every rank calls it.
        root: keeps what was encoded; see `prepare_table`.
        begins: whether texts begin with what the tokenizer's own frame puts before them.

    Raises:
        UserError: as `read_texts` and `prepare_table`.
    """
    parts = on_hosts(ranks, lambda: read_texts(data, read_blob)) or ([], [])
    tokenizer = tokenizer_of([text.content for text in parts[0]])

    before = tokenizer.opening() if begins else ()

    def encode(records: Sequence[Record]) -> Iterator[Sample]:
        return samples(records, tokenizer, before)

    key = ("corpus", tokenizer.identity, repr(before))
    train, held_out = (
        prepare_table(ranks, key, _records(part), encode, root=root) for part in parts
    )
    digest = hashlib.sha256(f"{train.digest} {held_out.digest}".encode()).hexdigest()[:32]
    lines = {"train": train.line("ids"), "held_out": held_out.line("ids")}
    return Corpus(**lines, digest=digest), tokenizer


def samples(
    records: Sequence[Record], tokenizer: Tokenizer, before: Sequence[int] = ()
) -> Iterator[Sample]:
    """The tokens of each text between those `before` it and the end-of-text token."""
    for at in range(0, len(records), _GROUP):
        texts = [str(record.values["text"]) for record in records[at : at + _GROUP]]
        for ids in tokenizer.encode_batch(texts):
            yield {"ids": [*before, *ids, tokenizer.end_id]}


def check_length(corpus: Corpus, length: int) -> None:
    """Raise UserError DATA_TOO_SHORT if a part does not make one sequence of `length` tokens."""
    for part, line in (("training", corpus.train), ("held-out", corpus.held_out)):
        if len(line) <= length:
            description = (
                f"the {part} text has {len(line)} tokens, too few for one sequence of {length}; "
                "name more files, or lower `train.sequence_length`"
            )
            raise UserError.at("data.files", description, "DATA_TOO_SHORT")


def _records(texts: Sequence[Text]) -> list[Record]:
    return [Record(values={"text": text.content}, place=text.name) for text in texts]
