"""Masked language modelling: hidden tokens of a text from all others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tessera.data.record import Record
from tessera.models.inputs import Inputs, Outputs
from tessera.models.tasks import MASKED
from tessera.spec.roles import roles_of
from tessera.text.tokenizer import Tokenizer
from tessera.trainer.batch import TokenBatch
from tessera.trainer.data import corpus as corpora
from tessera.trainer.data.table import Sample
from tessera.trainer.settings import Settings
from tessera.trainer.tasks.counting import batches, unigram
from tessera.trainer.tasks.encoding import tokenize_records
from tessera.trainer.tasks.frames import ONE, framed
from tessera.trainer.tasks.masking import Ids, Masker, hide
from tessera.trainer.tasks.padding import hide_padded, pad
from tessera.trainer.tasks.records import Records, Row
from tessera.trainer.tasks.task import Baseline, LossTerm, TaskContext, TaskData
from tessera.trainer.tasks.tokens import cross_entropy, measure_tokens, perplexity, token_metrics
from tessera.trainer.tasks.windows import Rows, Windows
from tessera.trainer.tasks.work import (
    data_of,
    encoded,
    examples,
    packed,
    sequence_length,
)

COLUMN = "text"


@dataclass(slots=True)
class MaskedLanguageModeling:
    """What a BERT is pre-trained for.

    Args:
        settings: of the run.
    """

    settings: Settings
    terms: tuple[LossTerm, ...] = (LossTerm(name="masked"),)

    def data(self, context: TaskContext) -> TaskData:
        """Windows of the packed texts, or texts, between a start and an end; see `Task`."""
        settings = self.settings
        if not settings.task.packing:
            return self._texts(context)
        corpus, tokenizer = packed(context)
        length = sequence_length(context, ONE + 1) - tokenizer.frame().one
        corpora.check_length(corpus, length)
        masker = Masker.of(tokenizer, settings.task.mask_probability, settings.seed)
        return TaskData(
            tokenizer=tokenizer,
            dataset=Windows(
                corpus=corpus,
                length=length,
                seed=settings.seed,
                collate=Collate(masker, tokenizer),
            ),
            task=settings.task.config(settings.family),
            digest=corpus.digest,
        )

    def _texts(self, context: TaskContext) -> TaskData:
        longest = sequence_length(context, ONE + 1)
        found = examples(context, roles_of(MASKED))
        tokenizer, settings = found.tokenizer, self.settings
        masker = Masker.of(tokenizer, settings.task.mask_probability, settings.seed)
        encode = TextEncoder(tokenizer=tokenizer, longest=longest)
        tables = encoded(context, found, encode, ("masked", longest))
        collate = TextCollate(tokenizer=tokenizer, longest=longest, masker=masker)
        return data_of(context, found, tables, (COLUMN,), collate)

    def losses(self, outputs: Outputs, batch: TokenBatch) -> Tensor:
        """[1] of hidden tokens; see `Task`."""
        assert outputs.masked is not None
        smoothing = self.settings.task.label_smoothing
        return cross_entropy(outputs.masked, batch.targets["masked"], smoothing)[None]

    def measure(self, outputs: Outputs, batch: TokenBatch) -> Tensor:
        """[3] of hidden tokens; see `Task`."""
        assert outputs.masked is not None
        return measure_tokens(outputs.masked, batch.targets["masked"])

    def metrics(self, sums: Sequence[float]) -> dict[str, float]:
        """Perplexity and accuracy; see `Task`."""
        return token_metrics(sums)

    def baseline(self, data: TaskData, samples: int) -> Baseline:
        """How often each token occurs in the training text; see `Task`."""
        dataset, tokenizer = data.dataset, data.tokenizer
        if isinstance(dataset, Windows):
            line = dataset.corpus.train
        else:
            assert isinstance(dataset, Records)
            line = dataset.tables["train"].line(COLUMN)
        found = batches(dataset, samples, self.settings.batch_size)
        targets = np.concatenate([batch.targets["masked"].numpy() for batch in found])
        guess = unigram(line, targets, tokenizer.vocab_size, tokenizer.special_ids)
        text = (
            f"guessing hidden tokens by their frequency has a held-out loss of {guess.loss:.4f} "
            f"nats per token; the most frequent one is right {guess.accuracy:.1%} of the time"
        )
        metrics = {"perplexity": perplexity(guess.loss), "accuracy": guess.accuracy}
        return Baseline(text=text, loss=guess.loss, metrics=metrics)


@dataclass(frozen=True, slots=True)
class Collate:
    """Makes batches of windows: all are full, and only hidden places reach the head."""

    masker: Masker
    tokenizer: Tokenizer

    def __call__(self, split: str, rows: Rows, sample_seeds: Rows) -> TokenBatch:
        """A batch whose counts depend on the windows only, not on the sample_seeds."""
        frame = self.tokenizer.frame()
        whole = np.stack([framed(row, frame) for row in rows])
        seen, places = hide(self.masker, split, list(whole), sample_seeds)
        return TokenBatch(
            inputs=Inputs(
                torch.from_numpy(np.stack(seen)),
                masked_at=torch.from_numpy(places),
            ),
            targets={"masked": torch.from_numpy(whole.ravel()[places])},
            counts=(len(places),),
            tokens=whole.size,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TextEncoder:
    """Makes samples of records with a text.

    Args:
        tokenizer: of the texts.
        longest: tokens of a sequence.
    """

    tokenizer: Tokenizer
    longest: int

    def __call__(self, records: Sequence[Record]) -> Iterator[Sample]:
        """Texts between a start and an end, cut to what fits."""
        for _, ids in tokenize_records(self.tokenizer, records, COLUMN):
            yield {COLUMN: framed(ids, self.tokenizer.frame(), self.longest)}


@dataclass(frozen=True, slots=True, kw_only=True)
class TextCollate:
    """Makes batches of texts with tokens hidden.

    Args:
        tokenizer: has the special tokens.
        longest: tokens of a sequence.
        masker: hides tokens.
    """

    tokenizer: Tokenizer
    longest: int
    masker: Masker

    def __call__(self, split: str, rows: Sequence[Row], sample_seeds: Ids) -> TokenBatch:
        """A batch whose counts depend on the texts only, not on the sample_seeds."""
        texts = [row[COLUMN] for row in rows]
        whole = pad(texts, self.tokenizer.pad_id, self.longest)
        seen, places, hidden = hide_padded(
            self.masker, split, texts, sample_seeds, whole, self.tokenizer.pad_id, self.longest
        )
        return TokenBatch(
            inputs=Inputs(
                seen,
                mask=whole.mask,
                index=whole.index,
                masked_at=places,
            ),
            targets={"masked": hidden},
            counts=(len(places),),
            tokens=whole.real,
        )
