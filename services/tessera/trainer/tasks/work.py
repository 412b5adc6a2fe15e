"""What every task does first: read the data, get the tokenizer, make samples."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from tessera.data.labels import Classes, find_classes
from tessera.data.record import Record, Roles
from tessera.text.tokenizer import Tokenizer
from tessera.trainer.data import corpus as corpora
from tessera.trainer.data.corpus import Corpus
from tessera.trainer.data.hosts import on_hosts
from tessera.trainer.data.prepared import prepare_table
from tessera.trainer.data.read import read
from tessera.trainer.data.table import Sample, Table
from tessera.trainer.data.vocabulary import learn
from tessera.trainer.failure import UserError
from tessera.trainer.tasks.records import Collate, Records
from tessera.trainer.tasks.task import TaskContext, TaskData

_TEXTS = ("text", "text_pair", "source", "target", "question", "context", "tokens")
"""Roles that a vocabulary is learned from."""

Encode = Callable[[Sequence[Record]], Iterable[Sample]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Examples:
    """The records of a run, which only the first rank of each host has, and its tokenizer."""

    train: list[Record]
    held_out: list[Record]
    tokenizer: Tokenizer


def packed(context: TaskContext, *, begins: bool = False) -> tuple[Corpus, Tokenizer]:
    """The texts of a run as two lines of tokens, and the tokenizer.

    Args:
        context: of the task.
        begins: see `corpus.prepare`.
    """
    settings = context.settings

    def tokenizer_of(texts: Sequence[str]) -> Tokenizer:
        return learn(context.ranks, texts, settings.tokenizer, context.tokenizer)

    return corpora.prepare(
        context.ranks, settings.data, context.read_blob, tokenizer_of, begins=begins
    )


def examples(context: TaskContext, roles: Roles) -> Examples:
    """Read the records of a task; every rank calls it.

    Raises:
        UserError: as `read`.
    """
    settings = context.settings
    parts = on_hosts(context.ranks, lambda: read(settings.data, roles, context.read_blob))
    train, held_out = parts or ([], [])
    tokenizer = learn(context.ranks, texts_of(train), settings.tokenizer, context.tokenizer)
    return Examples(train=train, held_out=held_out, tokenizer=tokenizer)


def encoded(
    context: TaskContext,
    found: Examples,
    encode: Encode,
    key: Sequence[object],
    held_out: Encode | None = None,
) -> dict[str, Table]:
    """The tables of samples; every rank calls it.

    Args:
        context: of the task.
        found: what it read.
        encode: makes samples of training records.
        key: all that samples depend on besides records, tokenizer and code.
        held_out: makes samples of held-out records; None: `encode` does.

    Raises:
        UserError: DATA_DIFFERS, or what `encode` raises.
    """
    parts = {"train": (found.train, encode), "held_out": (found.held_out, held_out or encode)}
    tokenizer = found.tokenizer.identity
    return {
        split: prepare_table(context.ranks, (repr(key), split, tokenizer), records, make)
        for split, (records, make) in parts.items()
    }


def data_of(
    context: TaskContext,
    found: Examples,
    tables: dict[str, Table],
    columns: tuple[str, ...],
    collate: Collate,
    *,
    labels: tuple[str, ...] = (),
) -> TaskData:
    """What a run on records works on.

    Args:
        context: of the task.
        found: what it read.
        tables: the samples, by split.
        columns: of tokens, as `Records` takes them.
        collate: makes the batches.
        labels: the classes, in their order.
    """
    settings = context.settings
    return TaskData(
        tokenizer=found.tokenizer,
        dataset=Records(
            tables=tables,
            columns=columns,
            batch_size=settings.batch_size,
            seed=settings.seed,
            collate=collate,
        ),
        task=settings.task.config(settings.family, labels),
        digest=_digest(tables),
    )


def classes_for(context: TaskContext, found: Examples, role: str) -> Classes:
    """The classes of a run: those that the spec names, else a version's, else the data's.

    What is held out by lot counts too, so that the same data has the same classes however it falls.

    Raises:
        InvalidArgumentError: as `find_classes`.
    """
    settings = context.settings
    records = found.train if settings.data.validation_files else [*found.train, *found.held_out]
    return context.ranks.on_main(
        lambda: find_classes(records, role, settings.task.labels, context.labels)
    )


def sequence_length(context: TaskContext, least: int = 1) -> int:
    """Tokens of the longest sequence.

    Raises:
        UserError: SEQUENCE_TOO_SHORT: not even `least` fit, which the task needs.
    """
    length = context.settings.sequence_length or context.model_context
    if length < least:
        description = f"{length} tokens do not do for this task, which takes at least {least}"
        raise UserError.at("train.sequence_length", description, "SEQUENCE_TOO_SHORT")
    return length


def texts_of(records: Iterable[Record]) -> Iterator[str]:
    """All texts of records, to learn a vocabulary from."""
    for record in records:
        for role in _TEXTS:
            said = record.values.get(role)
            if isinstance(said, tuple):
                yield " ".join(said)
            elif isinstance(said, str):
                yield said


def _digest(tables: dict[str, Table]) -> str:
    """Tells the samples of a run from others."""
    joined = " ".join(table.digest for table in tables.values())
    return hashlib.sha256(joined.encode()).hexdigest()[:32]
