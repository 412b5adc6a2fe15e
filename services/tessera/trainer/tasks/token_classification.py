"""Token classification: the class of every word, such as its part of speech."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from tessera.models.inputs import Outputs
from tessera.trainer.batch import TokenBatch
from tessera.trainer.data.record import Roles
from tessera.trainer.settings import Settings
from tessera.trainer.tasks.classes import class_metrics, measure_classes, one_hot
from tessera.trainer.tasks.counting import batches
from tessera.trainer.tasks.frames import ONE
from tessera.trainer.tasks.labels import numbered
from tessera.trainer.tasks.records import Records
from tessera.trainer.tasks.scores import f1
from tessera.trainer.tasks.spans import entities, is_bio
from tessera.trainer.tasks.tag_samples import TagCollate, TagEncoder
from tessera.trainer.tasks.task import Baseline, Material, Term, Work
from tessera.trainer.tasks.tokens import cross_entropy
from tessera.trainer.tasks.work import (
    encoded,
    examples,
    labels_for,
    material_of,
    sequence_length,
)

ROLES = Roles(required=("tokens", "tags"))


class TokenClassification:
    """Which class each word of a text is of; the first token of a word tells it.

    Args:
        settings: of the run.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.terms: tuple[Term, ...] = (Term(name="tags"),)
        self._labels: tuple[str, ...] = ()

    def material(self, work: Work) -> Material:
        """Words between a start and an end, with their tags; see `Task`."""
        longest = sequence_length(work, ONE + 1)
        found = examples(work, ROLES)
        tokenizer = found.tokenizer
        self._labels = labels = labels_for(work, found.train, "tags")
        encode = TagEncoder(tokenizer=tokenizer, longest=longest, numbers=numbered(labels))
        tables = encoded(work, found, encode, ("tags", longest, labels))
        collate = TagCollate(tokenizer=tokenizer, longest=longest)
        return material_of(work, found, tables, ("tokens",), collate, labels=labels)

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

    def baseline(self, material: Material, samples: int) -> Baseline:
        """The frequencies of the tags, and the most frequent one; see `Task`."""
        dataset = material.dataset
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
