"""Language modelling: every token of a packed text from those before it."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from tessera.models.inputs import Inputs
from tessera.trainer.batch import TokenBatch
from tessera.trainer.data import corpus as corpora
from tessera.trainer.tasks.counting import bigram_loss
from tessera.trainer.tasks.next_tokens import NextTokens
from tessera.trainer.tasks.task import Baseline, TaskContext, TaskData
from tessera.trainer.tasks.tokens import perplexity
from tessera.trainer.tasks.windows import Rows, Windows
from tessera.trainer.tasks.work import packed, sequence_length


@dataclass(slots=True)
class LanguageModeling(NextTokens):
    """What a GPT is pre-trained for.

    Args:
        settings: of the run.
    """

    def data(self, context: TaskContext) -> TaskData:
        """Windows of the packed texts; see `Task`."""
        settings = self.settings
        corpus, tokenizer = packed(context, begins=True)
        length = sequence_length(context)
        corpora.check_length(corpus, length)
        return TaskData(
            tokenizer=tokenizer,
            dataset=Windows(
                corpus=corpus, length=length, ahead=1, seed=settings.seed, collate=collate
            ),
            task=settings.task.config(settings.family),
            digest=corpus.digest,
        )

    def baseline(self, data: TaskData, samples: int) -> Baseline:
        """The bigrams of the training text; see `Task`."""
        dataset = data.dataset
        assert isinstance(dataset, Windows)
        rows = dataset.rows("held_out", dataset.held_out(samples))
        loss = bigram_loss(
            dataset.corpus.train,
            rows[:, :-1].ravel(),
            rows[:, 1:].ravel(),
            data.tokenizer.vocab_size,
        )
        text = f"a token-bigram model has a held-out loss of {loss:.4f} nats per token"
        return Baseline(text=text, loss=loss, metrics={"perplexity": perplexity(loss)})


def collate(_split: str, rows: Rows, _sample_seeds: Rows) -> TokenBatch:
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
