"""Translation and summarization: a decoder writes what an encoder's text means."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np

from tessera.models.tasks import TRANSLATION
from tessera.spec.roles import roles_of
from tessera.text.tokenizer import Tokenizer
from tessera.trainer.data.table import Table
from tessera.trainer.tasks.counting import batches, bigram, shift_right
from tessera.trainer.tasks.masking import Masker
from tessera.trainer.tasks.next_tokens import NextTokens
from tessera.trainer.tasks.pairs import COLUMNS, PairCollate, PairEncoder
from tessera.trainer.tasks.records import Records
from tessera.trainer.tasks.task import Baseline, TaskContext, TaskData
from tessera.trainer.tasks.tokens import perplexity
from tessera.trainer.tasks.work import (
    Examples,
    data_of,
    encoded,
    examples,
    sequence_length,
)

_LEAST = 4
"""Tokens without which there is no room for a text between special ones."""


@dataclass(slots=True)
class Translation(NextTokens):
    """What an encoder-decoder learns from pairs of texts.

    Args:
        settings: of the run.
    """

    def data(self, context: TaskContext) -> TaskData:
        """Pairs of a source and a target; see `Task`."""
        return pair_data(context, masked=False)

    def baseline(self, data: TaskData, samples: int) -> Baseline:
        """The bigrams of the targets, and copying the source; see `Task`."""
        dataset, tokenizer = data.dataset, data.tokenizer
        assert isinstance(dataset, Records)
        found = list(batches(dataset, samples, self.settings.batch_size))
        collate = dataset.collate
        assert isinstance(collate, PairCollate)
        line = shift_right(dataset.tables["train"], "target", collate.first)
        loss = bigram(line, found, tokenizer.vocab_size)
        copied = self._copied(data, samples)
        text = (
            f"a token-bigram model of the targets has a held-out loss of {loss:.4f} nats per "
            f"token; copying the source gets {copied:.1%} of the tokens right"
        )
        metrics = {"perplexity": perplexity(loss), "accuracy": copied}
        return Baseline(text=text, loss=loss, metrics=metrics)

    def _copied(self, data: TaskData, samples: int) -> float:
        """Share of the target's tokens that stand at the same place of the source."""
        dataset = data.dataset
        assert isinstance(dataset, Records)
        starts = len(data.tokenizer.frame().before)
        right = total = 0
        for index in dataset.held_out(samples)[:, 0].tolist():
            row = dataset.tables["held_out"].row(index)
            source, target = row["source"][starts:], row["target"]
            common = min(len(source), len(target))
            right += int(np.sum(source[:common] == target[:common]))
            total += len(target)
        return right / total


def pair_data(context: TaskContext, *, masked: bool) -> TaskData:
    """What a run on pairs of texts works on.

    Args:
        context: of the task.
        masked: whether tokens of the source are hidden and targets too.

    Raises:
        UserError: DATA_TOO_LONG, TOKENIZER_WITHOUT_MASK, or what reading the data raises.
    """
    settings = context.settings
    longest = sequence_length(context, _LEAST)
    found = examples(context, roles_of(TRANSLATION))
    tokenizer = found.tokenizer
    masker = None
    if masked:
        masker = Masker.of(tokenizer, settings.task.mask_probability, settings.seed)
    tables = _tables(context, found, longest)
    first = first_id(context, tokenizer)
    collate = PairCollate(tokenizer=tokenizer, first=first, longest=longest, masker=masker)
    return data_of(context, found, tables, COLUMNS, collate)


def first_id(context: TaskContext, tokenizer: Tokenizer) -> int:
    """The token that a run's decoder begins with."""
    return tokenizer.start_id if context.first_id < 0 else context.first_id


def _tables(context: TaskContext, found: Examples, longest: int) -> dict[str, Table]:
    first = first_id(context, found.tokenizer)

    def encoder(*, cut: bool) -> PairEncoder:
        return PairEncoder(
            tokenizer=found.tokenizer,
            longest=longest,
            first=first,
            cut=cut,
        )

    key = ("pairs", longest, found.tokenizer.frame(), first)
    tables = encoded(context, found, encoder(cut=False), key, encoder(cut=True))
    left_out = len(found.train) - len(tables["train"])
    if context.ranks.is_main and left_out:
        warnings.warn(
            f"{left_out} of {len(found.train)} training records are left out: their targets have "
            f"more than {longest - 1} tokens",
            stacklevel=2,
        )
    return tables
