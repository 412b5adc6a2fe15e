"""What counting reaches without a model: how often tokens occur, and follow one another."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tessera.trainer.batch import Dataset, TokenBatch
from tessera.trainer.data.table import Table


class BestGuess(NamedTuple):
    """Mean loss in nats per target, and share of the targets that the best guess hits."""

    loss: float
    accuracy: float


def batches(dataset: Dataset, samples: int, rows: int) -> Iterator[TokenBatch]:
    """The held-out batches of an evaluation of `samples` (0: all), `rows` at a time."""
    keys = dataset.held_out(samples)
    for at in range(0, len(keys), rows):
        yield dataset.batch("held_out", keys[at : at + rows])


def unigram(
    train: NDArray[Any], targets: NDArray[np.int64], vocab_size: int, special: Collection[int]
) -> BestGuess:
    """An add-one smoothed unigram model.

    Args:
        train: [N] tokens that are counted.
        targets: [M] tokens that are guessed.
        vocab_size: number of ids.
        special: ids that are never targets; they are not counted.
    """
    counts = np.bincount(train, minlength=vocab_size)
    counts[sorted(special)] = 0
    loss = np.log(counts.sum() + vocab_size) - np.mean(np.log(counts[targets] + 1))
    return BestGuess(float(loss), float(np.mean(targets == counts.argmax())))


def bigram(train: NDArray[Any], found: Sequence[TokenBatch], vocab_size: int) -> float:
    """Loss of an add-one smoothed bigram model, where a decoder writes beside an encoder.

    Args:
        train: [N] tokens that are counted.
        found: batches whose targets `next` are guessed.
        vocab_size: number of ids.
    """
    previous, following = [], []
    for batch in found:
        read = batch.inputs.decoder_tokens
        assert read is not None
        at = batch.inputs.at
        previous.append(read.flatten() if at is None else read.flatten()[at])
        following.append(batch.targets["next"])
    before, after = (np.concatenate(part) for part in (previous, following))
    return bigram_loss(train, before, after, vocab_size)


def shift_right(table: Table, column: str, start: int) -> NDArray[np.int64]:
    """[N] the rows of a column, one after another, with `start` before each."""
    found = table.columns[column]
    return np.insert(found.values.astype(np.int64), found.offsets[:-1], start)


def bigram_loss(
    train: NDArray[Any], previous: NDArray[Any], following: NDArray[Any], vocab_size: int
) -> float:
    """Mean loss, in nats per token, of an add-one smoothed bigram model.

    Args:
        train: [N] the tokens that are counted.
        previous: [M] the tokens that the model sees.
        following: [M] the tokens that it has to predict.
        vocab_size: number of ids.
    """
    line = np.asarray(train, dtype=np.int64)
    pairs, counts = np.unique(line[:-1] * vocab_size + line[1:], return_counts=True)
    seen = np.bincount(line[:-1], minlength=vocab_size)
    before = np.asarray(previous, dtype=np.int64)
    wanted = before * vocab_size + np.asarray(following, dtype=np.int64)
    at = np.minimum(np.searchsorted(pairs, wanted), len(pairs) - 1)
    found = np.where(pairs[at] == wanted, counts[at], 0)
    return float(np.mean(np.log(seen[before] + vocab_size) - np.log(found + 1)))
