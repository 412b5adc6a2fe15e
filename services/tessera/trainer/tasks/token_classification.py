"""Token classification: the class of every word, such as its part of speech."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tessera.data.labels import label_ids
from tessera.data.record import Record
from tessera.models.inputs import Outputs
from tessera.models.tasks import TOKENS
from tessera.spec.roles import roles_of
from tessera.text.tokenizer import Tokenizer
from tessera.trainer.batch import TokenBatch
from tessera.trainer.data.table import Sample
from tessera.trainer.settings import Settings
from tessera.trainer.tasks.classes import class_metrics, f1, measure_classes, one_hot
from tessera.trainer.tasks.counting import batches
from tessera.trainer.tasks.frames import ONE, framed
from tessera.trainer.tasks.padding import inputs_of, pad
from tessera.trainer.tasks.records import Records, Row
from tessera.trainer.tasks.spans import entities, is_bio
from tessera.trainer.tasks.task import Baseline, LossTerm, TaskContext, TaskData
from tessera.trainer.tasks.tokens import cross_entropy
from tessera.trainer.tasks.work import (
    classes_for,
    data_of,
    encoded,
    examples,
    sequence_length,
)


class TokenClassification:
    """Which class each word of a text is of; the first token of a word tells it.

    Args:
        settings: of the run.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.terms: tuple[LossTerm, ...] = (LossTerm(name="tags"),)
        self._labels: tuple[str, ...] = ()

    def data(self, context: TaskContext) -> TaskData:
        """Words between a start and an end, with their tags; see `Task`."""
        longest = sequence_length(context, ONE + 1)
        found = examples(context, roles_of(TOKENS))
        tokenizer = found.tokenizer
        classes = classes_for(context, found, "tags")
        self._labels, numbers = classes.names, classes.numbers
        encode = TagEncoder(tokenizer=tokenizer, longest=longest, numbers=numbers)
        tables = encoded(context, found, encode, ("tags", longest, sorted(numbers.items())))
        collate = TagCollate(tokenizer=tokenizer, longest=longest)
        return data_of(context, found, tables, ("tokens",), collate, labels=self._labels)

    def losses(self, outputs: Outputs, batch: TokenBatch) -> Tensor:
        """[1] of the tags; see `Task`."""
        smoothing = self.settings.task.label_smoothing
        return cross_entropy(_chosen(outputs, batch), batch.targets["tags"], smoothing)[None]

    def measure(self, outputs: Outputs, batch: TokenBatch) -> Tensor:
        """[2 + 3 C + 3] as `measure_classes`, then entities found, guessed and wanted."""
        return self._measure(_chosen(outputs, batch).argmax(dim=-1), batch)

    def metrics(self, sums: Sequence[float]) -> dict[str, float]:
        """Accuracy and macro F1 of the tags, and F1 of the entities if there are; see `Task`."""
        found = class_metrics(sums[:-3])
        return {**found, "span_f1": f1(*sums[-3:])} if is_bio(self._labels) else found

    def baseline(self, data: TaskData, samples: int) -> Baseline:
        """The frequencies of the tags, and the most frequent one; see `Task`."""
        dataset = data.dataset
        assert isinstance(dataset, Records)
        line, classes = dataset.tables["train"].line("tags"), len(self._labels)
        seen = np.bincount(line, minlength=classes)
        best = int(seen.argmax())
        share = torch.from_numpy((seen + 1) / (len(line) + classes))
        sums, nats = [], 0.0
        for batch in batches(dataset, samples, self.settings.batch_size):
            tags = batch.targets["tags"]
            nats -= float(share.log()[tags].sum())
            sums.append(self._measure(torch.full_like(tags, best), batch))
        total = torch.stack(sums).sum(dim=0).tolist()
        metrics, loss = self.metrics(total), nats / total[1]
        text = (
            f"always guessing `{self._labels[best]}` is right for {metrics['accuracy']:.1%} of the "
            f"held-out words; the frequencies of the tags have a loss of {loss:.4f} nats"
        )
        return Baseline(text=text, loss=loss, metrics=metrics)

    def _measure(self, guessed: Tensor, batch: TokenBatch) -> Tensor:
        wanted, classes = batch.targets["tags"], len(self._labels)
        sums = measure_classes(one_hot(guessed, classes), one_hot(wanted, classes))
        found = sums.new_zeros(3)
        if is_bio(self._labels):
            rows = batch.targets["rows"].tolist()
            found = sums.new_tensor(self._entities(rows, guessed.tolist(), wanted.tolist()))
        return torch.cat([sums, found])

    def _entities(
        self, rows: Sequence[int], guessed: Sequence[int], wanted: Sequence[int]
    ) -> list[int]:
        """How many entities are found, guessed and wanted."""
        found, said = (entities(self._tags(rows, numbers)) for numbers in (guessed, wanted))
        return [len(found & said), len(found), len(said)]

    def _tags(self, rows: Sequence[int], numbers: Sequence[int]) -> list[str]:
        """Tags of all rows one after another, with an `O` between rows."""
        tags: list[str] = []
        for at, (row, number) in enumerate(zip(rows, numbers, strict=True)):
            if at and row != rows[at - 1]:
                tags.append("O")
            tags.append(self._labels[number])
        return tags


def _chosen(outputs: Outputs, batch: TokenBatch) -> Tensor:
    """[M, C] logits where a word begins."""
    assert outputs.logits is not None
    return outputs.logits.flatten(0, 1)[batch.targets["places"]]


@dataclass(frozen=True, slots=True, kw_only=True)
class TagEncoder:
    """Makes samples of records with words and their tags.

    Args:
        tokenizer: of the words.
        longest: tokens of a sequence; words beyond it are left out.
        numbers: of the tags.
    """

    tokenizer: Tokenizer
    longest: int
    numbers: Mapping[str, int]

    def __call__(self, records: Sequence[Record]) -> Iterator[Sample]:
        """`tokens`, `places` of the first token of each word, and its `tags`."""
        frame = self.tokenizer.frame()
        for record in records:
            tags = np.array(label_ids(record, "tags", self.numbers), dtype=np.int64)
            ids, owners = self.tokenizer.encode_words(record.values["tokens"])  # type: ignore[arg-type]
            # A word that the tokenizer drops has no token that could tell its tag, and a space
            # before a word tells nothing of it.
            shown = [
                place
                for place, token in enumerate(ids[: self.longest - frame.one])
                if self.tokenizer.token_text(token).strip()
            ]
            owned = np.array(owners, dtype=np.int64)[shown]
            words, firsts = np.unique(owned, return_index=True)
            yield {
                "tokens": framed(ids, frame, self.longest),
                "places": np.array(shown, dtype=np.int64)[firsts] + len(frame.before),
                "tags": tags[words],
            }


@dataclass(frozen=True, slots=True, kw_only=True)
class TagCollate:
    """Makes batches of words with their tags.

    Args:
        tokenizer: has the special tokens.
        longest: tokens of a sequence.
    """

    tokenizer: Tokenizer
    longest: int

    def __call__(
        self, _split: str, rows: Sequence[Row], _sample_seeds: NDArray[np.int64]
    ) -> TokenBatch:
        """Targets are [M] tags, their places among B * T, and their rows."""
        read = pad([row["tokens"] for row in rows], self.tokenizer.pad_id, self.longest)
        width = read.ids.shape[1]
        places = np.concatenate([row["places"] + at * width for at, row in enumerate(rows)])
        tags = np.concatenate([row["tags"] for row in rows])
        return TokenBatch(
            inputs=inputs_of(read),
            targets={
                "tags": torch.from_numpy(tags),
                "places": torch.from_numpy(places),
                "rows": torch.from_numpy(places // width),
            },
            counts=(len(tags),),
            tokens=read.real,
        )
