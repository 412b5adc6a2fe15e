"""Sentence embeddings: texts that mean the same get vectors that are close to each other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from tessera.data.checks import check_scores
from tessera.data.record import Record
from tessera.models.inputs import Outputs
from tessera.models.tasks import EMBEDDING
from tessera.spec.roles import roles_of
from tessera.text.tokenizer import Tokenizer
from tessera.trainer.batch import TokenBatch
from tessera.trainer.data.table import Sample
from tessera.trainer.settings import Settings
from tessera.trainer.tasks.encoding import tokenize_records
from tessera.trainer.tasks.frames import ONE, framed
from tessera.trainer.tasks.padding import inputs_of, pad
from tessera.trainer.tasks.records import Records, Row
from tessera.trainer.tasks.scores import moments, pearson
from tessera.trainer.tasks.task import Baseline, LossTerm, TaskContext, TaskData
from tessera.trainer.tasks.work import data_of, encoded, examples, sequence_length

COLUMNS = ("text", "text_pair")
SCALE = 20.0
"""What cosines are multiplied by before the softmax (Reimers and Gurevych, 2019)."""


class SentenceEmbedding:
    """How close two texts are: to each other and to no other text, or as close as a score says.

    Without scores the texts of a micro-batch are what each pair is told from, so the loss depends
    on its size: `train.batch_size` by workers and `train.grad_accumulation`.

    Args:
        settings: of the run.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.terms: tuple[LossTerm, ...] = (LossTerm(name="pairs"),)
        self._scored = False

    def data(self, context: TaskContext) -> TaskData:
        """Pairs of texts, each between a start and an end; see `Task`."""
        longest = sequence_length(context, ONE + 1)
        found = examples(context, roles_of(EMBEDDING))
        tokenizer = found.tokenizer
        self._scored = context.ranks.on_main(lambda: check_scores([*found.train, *found.held_out]))
        encode = EmbeddingEncoder(tokenizer=tokenizer, longest=longest)
        tables = encoded(context, found, encode, ("embeddings", longest))
        collate = EmbeddingCollate(tokenizer=tokenizer, longest=longest)
        return data_of(context, found, tables, COLUMNS, collate)

    def losses(self, outputs: Outputs, batch: TokenBatch) -> Tensor:
        """[1]: of picking the partner among those of the micro-batch, or of the score squared."""
        assert outputs.vectors is not None
        similar = cosines(outputs.vectors)
        if self._scored:
            return functional.mse_loss(
                similar.diagonal(), batch.targets["scores"], reduction="sum"
            )[None]
        partners = torch.arange(len(similar), device=similar.device)
        return functional.cross_entropy(SCALE * similar, partners, reduction="sum")[None]

    def measure(self, outputs: Outputs, batch: TokenBatch) -> Tensor:
        """[8] float64: partners found, pairs, and the sums of `pearson`; see `Task`."""
        assert outputs.vectors is not None
        return self._measure(cosines(outputs.vectors), batch.targets["scores"])

    def metrics(self, sums: Sequence[float]) -> dict[str, float]:
        """Correlation with the scores, or accuracy of finding the partner; see `Task`."""
        found, pairs, *pairs_sums = sums
        return {"pearson": pearson(pairs_sums)} if self._scored else {"accuracy": found / pairs}

    def baseline(self, data: TaskData, samples: int) -> Baseline:
        """How many tokens two texts share; see `Task`."""
        dataset = data.dataset
        assert isinstance(dataset, Records)
        total = [0.0] * 8
        for keys in self._micro_batches(dataset, samples):
            rows = [dataset.tables["held_out"].row(index) for index in keys[:, 0].tolist()]
            left, right = ([set(row[name].tolist()) for row in rows] for name in COLUMNS)
            similar = torch.tensor([[overlap(a, b) for b in right] for a in left])
            scores = torch.from_numpy(np.concatenate([row["score"] for row in rows]))
            total = [a + b for a, b in zip(total, self._measure(similar, scores), strict=True)]
        metrics = self.metrics([float(value) for value in total])
        said = ", ".join(f"{name} of {value:.4f}" for name, value in metrics.items())
        return Baseline(text=f"the share of common tokens has an {said}", metrics=metrics)

    def _micro_batches(self, dataset: Records, samples: int) -> Iterator[np.ndarray]:
        """The keys of the batches of an evaluation, each of which is one rank's."""
        keys = dataset.held_out(samples)
        ranks = self.settings.workers
        rows = self.settings.batch_size // (ranks * self.settings.grad_accumulation)
        for rank in range(ranks):
            mine = keys[rank::ranks]
            for at in range(0, len(mine), rows):
                yield mine[at : at + rows]

    def _measure(self, similar: Tensor, scores: Tensor) -> Tensor:
        partners = torch.arange(len(similar), device=similar.device)
        found = (similar.argmax(dim=1) == partners).sum().double()
        x = similar.diagonal()
        y = scores if self._scored else torch.zeros_like(x)
        return torch.cat([torch.stack([found, found.new_tensor(len(similar))]), moments(x, y)])


def cosines(vectors: Tensor) -> Tensor:
    """[B, B] float32 cosines of each first text with each second one.

    Args:
        vectors: [2 B, width]; all first texts, then all second ones.
    """
    first, second = functional.normalize(vectors.float(), dim=-1).chunk(2)
    # In bfloat16 close neighbours could not be told apart.
    with torch.autocast(vectors.device.type, enabled=False):
        return first @ second.T


def overlap(left: set[int], right: set[int]) -> float:
    """Tokens that are in both texts as a share of those that are in either (Jaccard)."""
    return len(left & right) / len(left | right)


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingEncoder:
    """Makes samples of records with two texts and perhaps a score.

    Args:
        tokenizer: of the texts.
        longest: tokens of a sequence.
    """

    tokenizer: Tokenizer
    longest: int

    def __call__(self, records: Sequence[Record]) -> Iterator[Sample]:
        """`text`, `text_pair`, and `score`, which is empty where there is none."""
        for record, *pair in tokenize_records(self.tokenizer, records, *COLUMNS):
            left, right = (framed(ids, self.tokenizer.frame(), self.longest) for ids in pair)
            score = record.values.get("score")
            found = [] if score is None else [score]
            yield {"text": left, "text_pair": right, "score": np.array(found, np.float32)}


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingCollate:
    """Makes batches of pairs as 2 B rows, all first texts before all second ones.

    Args:
        tokenizer: has the special tokens.
        longest: tokens of a sequence.
    """

    tokenizer: Tokenizer
    longest: int

    def __call__(
        self, _split: str, rows: Sequence[Row], _sample_seeds: NDArray[np.int64]
    ) -> TokenBatch:
        """Targets are [B] scores, if there are any."""
        texts = [row[name] for name in COLUMNS for row in rows]
        read = pad(texts, self.tokenizer.pad_id, self.longest)
        scores = np.concatenate([row["score"] for row in rows]).astype(np.float32)
        return TokenBatch(
            inputs=inputs_of(read),
            targets={"scores": torch.from_numpy(scores)},
            counts=(len(rows),),
            tokens=read.real,
        )
