"""Vocabularies that are weighed at places of texts, over several steps where they are many."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from tessera.inference.engine.pooling import CHOICE, HeadOutput, PoolingInput
from tessera.models.head import Head
from tessera.models.model import Model

LOGITS_BYTES = 64 << 20
"""Of logits of places that are in memory at once: what a step takes beside the model's states."""

_FLOAT_BYTES = 4


class Weighing:
    """A text that has been read, and what is known of its places so far.

    Args:
        text: it.
        hidden: [K, width] states at its places.
    """

    def __init__(self, text: PoolingInput, hidden: Tensor) -> None:
        self.text = text
        self._hidden = hidden
        self._said: list[HeadOutput] = []

    @property
    def left(self) -> int:
        """Places that are not weighed yet."""
        return len(self._hidden)

    @property
    def hidden(self) -> Tensor:
        """[left, width] states at those."""
        return self._hidden

    @property
    def targets(self) -> tuple[int, ...]:
        """Whose log-probabilities are wanted there; none where the likeliest are."""
        return self.text.targets[len(self.text.places) - self.left :]

    def add(self, said: HeadOutput) -> None:
        """Take what is said of its next places."""
        self._hidden = self._hidden[len(said) :]
        # A copy: what it is a part of may be much larger.
        self._said.append((said[:, : self.text.top_k] if said.ndim > 1 else said).copy())

    def result(self) -> HeadOutput:
        """What is said of all places, when none is left."""
        return np.concatenate(self._said)


def weigh(model: Model, row: Head, texts: Sequence[Weighing], most: int | None = None) -> None:
    """Weigh the vocabulary at places of texts: never all of it for all places at once.

    Args:
        model: that has read them.
        row: the head that is asked.
        texts: take what is said, in their order.
        most: places to look at now; None: all.
    """
    words = model.config.target_vocab_size if row.writes else model.config.vocab_size
    hidden = torch.cat([text.hidden for text in texts])[:most]
    wanted = [token for text in texts for token in text.targets]
    targets = torch.tensor(wanted, dtype=torch.int64, device=hidden.device)[:most]
    top_k = min(words, max(text.text.top_k for text in texts))
    head, size = model.heads[row.name], max(1, LOGITS_BYTES // (words * _FLOAT_BYTES))
    if row.writes:
        parts = zip(torch.split(hidden, size), torch.split(targets, size), strict=True)
        said = [_logprobs(head(part), chosen) for part, chosen in parts]
    else:
        said = [_likeliest(head(part), top_k) for part in torch.split(hidden, size)]
    found, begin = np.concatenate(said), 0
    for text in texts:
        end = begin + text.left
        text.add(found[begin:end])
        begin = end


def _logprobs(logits: Tensor, targets: Tensor) -> HeadOutput:
    """[K, V] logits and [K] tokens to the tokens' log-probabilities, [K]."""
    exact = logits.float()
    chosen = exact.gather(1, targets[:, None]).squeeze(1)
    total = exact.logsumexp(-1)
    # Beside +inf nothing is merely unlikely: that says nothing, as everything ruled out does.
    return _numpy((chosen - total).masked_fill(total.isinf(), torch.nan))


def _likeliest(logits: Tensor, count: int) -> HeadOutput:
    """[K, V] logits to the likeliest tokens of each place, [K, count] of `CHOICE`."""
    exact = logits.float()
    best = exact.topk(count, dim=-1)
    found = np.empty(best.indices.shape, CHOICE)
    found["token"] = best.indices.cpu().numpy()
    found["logprob"] = _numpy(best.values - exact.logsumexp(-1, keepdim=True))
    return found


def _numpy(x: Tensor) -> HeadOutput:
    return x.float().cpu().numpy()
