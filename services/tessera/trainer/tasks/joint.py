"""Joint training: an encoder finds hidden tokens, and a decoder goes on where its text ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tessera.models.inputs import Outputs
from tessera.spec.roles import reads_pairs
from tessera.trainer.batch import TokenBatch
from tessera.trainer.data import corpus as corpora
from tessera.trainer.settings import Settings
from tessera.trainer.tasks.counting import batches, bigram, shift_right, unigram
from tessera.trainer.tasks.frames import framed
from tessera.trainer.tasks.masking import HELD_OUT_SEED, Masker
from tessera.trainer.tasks.pairs import PairCollate
from tessera.trainer.tasks.records import Records
from tessera.trainer.tasks.task import Baseline, LossTerm, TaskContext, TaskData
from tessera.trainer.tasks.tokens import cross_entropy, measure_tokens, perplexity, token_metrics
from tessera.trainer.tasks.translation import first_id, pair_data
from tessera.trainer.tasks.windows import Rows, Windows
from tessera.trainer.tasks.work import packed, sequence_length

_CUTS = 16
"""A window is cut at a multiple of this part of it, so that there are few shapes."""

_TOGETHER = 16
"""Samples in a row that are cut at the same place, so that their batch needs no padding."""

_LEAST = 4


class Joint:
    """What a BERT-GPT is pre-trained for.

    Args:
        settings: of the run.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.terms: tuple[LossTerm, ...] = (
            LossTerm(name="masked", weight=settings.task.masked_weight),
            LossTerm(name="next", weight=settings.task.next_weight),
        )

    def data(self, context: TaskContext) -> TaskData:
        """Windows in two parts, or pairs of a source and a target; see `Task`."""
        if has_pairs(self.settings):
            return pair_data(context, masked=True)
        settings = self.settings
        length = sequence_length(context, _LEAST)
        corpus, tokenizer = packed(context)
        corpora.check_length(corpus, length)
        masker = Masker.of(tokenizer, settings.task.mask_probability, settings.seed)
        first = first_id(context, tokenizer)
        pairs = PairCollate(tokenizer=tokenizer, first=first, longest=0, masker=masker)
        return TaskData(
            tokenizer=tokenizer,
            dataset=Windows(
                corpus=corpus,
                length=length,
                seed=settings.seed,
                collate=CutCollate(pairs, settings.seed),
            ),
            task=settings.task.config(settings.family),
            digest=corpus.digest,
        )

    def losses(self, outputs: Outputs, batch: TokenBatch) -> Tensor:
        """[2] of hidden and of next tokens; see `Task`."""
        assert outputs.masked is not None
        assert outputs.logits is not None
        masked = cross_entropy(outputs.masked, batch.targets["masked"])
        smoothing = self.settings.task.label_smoothing
        following = cross_entropy(outputs.logits, batch.targets["next"], smoothing)
        return torch.stack([masked, following])

    def measure(self, outputs: Outputs, batch: TokenBatch) -> Tensor:
        """[6] of hidden tokens, then of next ones; see `Task`."""
        assert outputs.masked is not None
        assert outputs.logits is not None
        masked = measure_tokens(outputs.masked, batch.targets["masked"])
        return torch.cat([masked, measure_tokens(outputs.logits, batch.targets["next"])])

    def metrics(self, sums: Sequence[float]) -> dict[str, float]:
        """Perplexity and accuracy of both; see `Task`."""
        parts = {"masked": sums[:3], "next": sums[3:]}
        return {
            f"{part}_{name}": value
            for part, found in parts.items()
            for name, value in token_metrics(found).items()
        }

    def baseline(self, data: TaskData, samples: int) -> Baseline:
        """Unigrams for hidden tokens, bigrams for next ones; see `Task`."""
        dataset, tokenizer = data.dataset, data.tokenizer
        size = tokenizer.vocab_size
        read, written = _lines(data)
        found = list(batches(dataset, samples, self.settings.batch_size))
        hidden = np.concatenate([batch.targets["masked"].numpy() for batch in found])
        guess = unigram(read, hidden, size, tokenizer.special_ids)
        following = bigram(written, found, size)
        losses = (guess.loss, following)
        loss = sum(term.weight * part for term, part in zip(self.terms, losses, strict=True))
        return Baseline(
            text=(
                f"token frequencies have a held-out loss of {guess.loss:.4f} nats per hidden "
                f"token, token bigrams of {following:.4f} nats per next token"
            ),
            loss=loss,
            metrics={
                "masked_perplexity": perplexity(guess.loss),
                "masked_accuracy": guess.accuracy,
                "next_perplexity": perplexity(following),
            },
        )


@dataclass(frozen=True, slots=True)
class CutCollate:
    """Makes batches of windows: the encoder reads their first part, the decoder writes the rest.

    Where a window is cut changes each time that it is drawn, so that the model meets texts of any
    length.

    Args:
        pairs: makes batches of the two parts.
        seed: of the run.
    """

    pairs: PairCollate
    seed: int

    def __call__(self, split: str, rows: Rows, sample_seeds: Rows) -> TokenBatch:
        """A batch of as many tokens whatever the sample_seeds."""
        width = rows.shape[1]
        cuts = [self._cut(split, width, seed) for seed in sample_seeds.tolist()]
        frame = self.pairs.tokenizer.frame()
        sources = [framed(row[:cut], frame) for row, cut in zip(rows, cuts, strict=True)]
        targets = [row[cut:] for row, cut in zip(rows, cuts, strict=True)]
        return self.pairs.batch(split, sources, targets, sample_seeds)

    def _cut(self, split: str, width: int, sample_seed: int) -> int:
        seed = self.seed if split == "train" else HELD_OUT_SEED
        # Another counter than that of hidden tokens, which have the same key.
        bits = np.random.Philox(key=[seed, sample_seed // _TOGETHER], counter=[0, 0, 0, 1])
        part = int(np.random.Generator(bits).integers(1, _CUTS))
        room = width - max(self.pairs.tokenizer.frame().one, 1)
        return min(max(1, width * part // _CUTS), room)


def has_pairs(settings: Settings) -> bool:
    """Whether the data has sources and targets, rather than texts."""
    return reads_pairs(settings.data.format, settings.data.columns)


def _lines(data: TaskData) -> tuple[Rows, Rows]:
    """The training tokens that the encoder reads, and those that the decoder writes."""
    dataset = data.dataset
    if isinstance(dataset, Records):
        table = dataset.tables["train"]
        assert isinstance(dataset.collate, PairCollate)
        return table.line("source"), shift_right(table, "target", dataset.collate.first)
    assert isinstance(dataset, Windows)
    return dataset.corpus.train, dataset.corpus.train
