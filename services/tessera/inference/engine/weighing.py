"""Vocabularies that are weighed at places of texts, as far as the time of a step goes."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from tessera.inference.engine.pooling import CHOICE, HeadOutput, PoolingInput
from tessera.models.head import Head
from tessera.models.model import Model

LOGITS_BYTES = 64 << 20
"""Of logits of places that are in memory at once: what a step takes beside the model's states."""

FIRST_BYTES = 1 << 20
"""Of logits of the first slice of a step: only then it is known how long a place takes."""

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


def weigh(
    model: Model,
    row: Head,
    texts: Sequence[Weighing],
    until: float = float("inf"),
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Weigh the vocabulary at places of texts: of those with few first, and one slice at least.

    Args:
        model: that has read them.
        row: the head that is asked.
        texts: take what is said.
        until: when it should end, on the clock; inf: when nothing is left.
        clock: seconds.
    """
    words = model.config.target_vocab_size if row.writes else model.config.vocab_size
    ordered = sorted(texts, key=lambda text: text.left)
    hidden = torch.cat([text.hidden for text in ordered])
    wanted = [token for text in ordered for token in text.targets]
    targets = torch.tensor(wanted, dtype=torch.int64, device=hidden.device)
    top_k = min(words, max(text.text.top_k for text in texts))
    head, most = model.heads[row.name], max(1, LOGITS_BYTES // (words * _FLOAT_BYTES))
    size, done = max(1, min(most, FIRST_BYTES // (words * _FLOAT_BYTES))), 0
    said: list[HeadOutput] = []
    while not said or (done < len(hidden) and clock() < until):
        begin, part = clock(), slice(done, done + size)
        logits = head(hidden[part])
        said.append(_logprobs(logits, targets[part]) if row.writes else _likeliest(logits, top_k))
        done += len(logits)
        now = clock()
        fitting = (until - now) / max(now - begin, 1e-9) * len(logits)
        size = int(min(most, max(size // 2, 1, fitting)))
    found, begin = np.concatenate(said), 0
    for text in ordered:
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
