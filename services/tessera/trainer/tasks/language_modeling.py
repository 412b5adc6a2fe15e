"""Language modelling: every token of a packed text from those before it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tessera.models.inputs import Inputs, Outputs
from tessera.trainer.batch import TokenBatch
from tessera.trainer.data import corpus as corpora
from tessera.trainer.settings import Settings
from tessera.trainer.tasks.bigram import bigram_loss
from tessera.trainer.tasks.task import Baseline, Material, Term, Work
from tessera.trainer.tasks.tokens import cross_entropy, measure_tokens, perplexity, token_metrics
from tessera.trainer.tasks.windows import Rows, Windows
from tessera.trainer.tasks.work import packed, sequence_length


@dataclass(slots=True)
class LanguageModeling:
    """What a GPT is pre-trained for.

    Args:
        settings: of the run.
    """

    settings: Settings
    terms: tuple[Term, ...] = (Term(name="next"),)

    def material(self, work: Work) -> Material:
        """Windows of the packed texts; see `Task`."""
        settings = self.settings
        corpus, tokenizer = packed(work, begins=True)
        length = sequence_length(work)
        corpora.check_length(corpus, length)
        return Material(
            tokenizer=tokenizer,
            dataset=Windows(
                corpus=corpus, length=length, ahead=1, seed=settings.seed, collate=collate
            ),
            task=settings.task.config(settings.family),
            digest=corpus.digest,
        )

    def losses(self, outputs: Outputs, batch: TokenBatch) -> Tensor:
        """[1] of next tokens; see `Task`."""
        assert outputs.logits is not None
        smoothing = self.settings.task.label_smoothing
        return cross_entropy(outputs.logits, batch.targets["next"], smoothing)[None]

    def measure(self, outputs: Outputs, batch: TokenBatch) -> Tensor:
        """[3] of next tokens; see `Task`."""
        assert outputs.logits is not None
        return measure_tokens(outputs.logits, batch.targets["next"])

    def metrics(self, sums: Sequence[float]) -> dict[str, float]:
        """Perplexity and accuracy; see `Task`."""
        return token_metrics(sums)

    def baseline(self, material: Material, samples: int) -> Baseline:
        """The bigrams of the training text; see `Task`."""
        dataset = material.dataset
        assert isinstance(dataset, Windows)
        rows = dataset.rows("held_out", dataset.held_out(samples))
        loss = bigram_loss(
            dataset.corpus.train,
            rows[:, :-1].ravel(),
            rows[:, 1:].ravel(),
            material.tokenizer.vocab_size,
        )
        text = f"a token-bigram model has a held-out loss of {loss:.4f} nats per token"
        return Baseline(text=text, loss=loss, metrics={"perplexity": perplexity(loss)})


def collate(_split: str, rows: Rows, _draws: Rows) -> TokenBatch:
    """Windows of one token more than the model reads."""
    tokens = torch.from_numpy(rows)
    targets = tokens[:, 1:].contiguous()
    count = targets.numel()
    return TokenBatch(
        inputs=Inputs(tokens[:, :-1].contiguous()),
        targets={"next": targets},
        counts=(count,),
        tokens=count,
    )
