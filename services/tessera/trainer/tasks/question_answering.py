"""Question answering: where in a context the answer to a question begins and ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from tessera.models.inputs import Outputs
from tessera.trainer.batch import TokenBatch
from tessera.trainer.data.record import Roles
from tessera.trainer.settings import Settings
from tessera.trainer.tasks.answer_samples import AnswerCollate, AnswerEncoder, check_answers
from tessera.trainer.tasks.counting import batches
from tessera.trainer.tasks.frames import PAIR
from tessera.trainer.tasks.task import Baseline, Material, Term, Work
from tessera.trainer.tasks.work import encoded, examples, material_of, sequence_length

ROLES = Roles(required=("question", "context"), optional=("answer", "answer_start"))


@dataclass(slots=True)
class QuestionAnswering:
    """Where the answer is; nowhere in a window that does not hold it (Rajpurkar et al., 2018).

    Args:
        settings: of the run.
    """

    settings: Settings
    terms: tuple[Term, ...] = (Term(name="span"),)

    def material(self, work: Work) -> Material:
        """Questions with windows of their contexts; see `Task`."""
        longest = sequence_length(work, PAIR + 2)
        found = examples(work, ROLES)
        work.ranks.on_main(lambda: check_answers(found.train))
        tokenizer, stride = found.tokenizer, self.settings.task.stride
        overlap = longest // 4 if stride is None else stride
        encode = AnswerEncoder(tokenizer=tokenizer, longest=longest, overlap=overlap)
        tables = encoded(work, found, encode, ("answers", longest, overlap))
        collate = AnswerCollate(tokenizer=tokenizer, longest=longest)
        return material_of(work, found, tables, ("tokens",), collate)

    def losses(self, outputs: Outputs, batch: TokenBatch) -> Tensor:
        """[1], of each window the mean of the losses of first and last place; see `Task`."""
        logits = _allowed(outputs, batch).transpose(1, 2).flatten(0, 1)
        places = batch.targets["span"].flatten()
        return functional.cross_entropy(logits, places, reduction="sum")[None] / 2

    def measure(self, outputs: Outputs, batch: TokenBatch) -> Tensor:
        """[3] float64: spans that are right, sum of their F1, windows; see `Task`."""
        guess, wanted = best_spans(_allowed(outputs, batch)), batch.targets["span"]
        exact = (guess == wanted).all(dim=1)
        # No answer is place 0, which overlaps with itself only.
        begin = torch.maximum(guess[:, 0], wanted[:, 0])
        end = torch.minimum(guess[:, 1], wanted[:, 1])
        common = (end - begin + 1).clamp(min=0)
        tokens = (guess[:, 1] - guess[:, 0]) + (wanted[:, 1] - wanted[:, 0]) + 2
        f1 = 2 * common.double() / tokens
        return torch.stack([exact.sum().double(), f1.sum(), f1.new_tensor(len(exact))])

    def metrics(self, sums: Sequence[float]) -> dict[str, float]:
        """Exact match and F1, by windows; see `Task`."""
        exact, overlap, total = sums
        return {"exact_match": exact / total, "f1": overlap / total}

    def baseline(self, material: Material, samples: int) -> Baseline:
        """Any place; see `Task`."""
        found = batches(material.dataset, samples, self.settings.batch_size)
        places = np.concatenate([batch.targets["allowed"].sum(dim=1).numpy() for batch in found])
        loss, exact = float(np.mean(np.log(places))), float(np.mean(1.0 / places**2))
        text = (
            f"drawing first and last place at random has a held-out loss of {loss:.4f} nats and "
            f"is right in {exact:.2%} of the windows"
        )
        return Baseline(text=text, loss=loss, metrics={"exact_match": exact})


def best_spans(logits: Tensor) -> Tensor:
    """[B, 2] first and last place of the spans with the highest sum of logits.

    Args:
        logits: [B, T, 2] of being first and last; -inf where none may be. Place 0 stands for no
            answer and goes with itself only.
    """
    first, last = logits.unbind(dim=-1)
    length = first.shape[1]
    ordered = torch.ones(length, length, dtype=torch.bool, device=logits.device).triu()
    ordered[0, 1:] = False
    sums = (first[:, :, None] + last[:, None, :]).masked_fill(~ordered, -torch.inf)
    best = sums.flatten(1).argmax(dim=1)
    return torch.stack([best // length, best % length], dim=1)


def _allowed(outputs: Outputs, batch: TokenBatch) -> Tensor:
    """[B, T, 2] logits in float32, -inf where there is no context."""
    assert outputs.logits is not None
    return outputs.logits.float().masked_fill(~batch.targets["allowed"][..., None], -torch.inf)
