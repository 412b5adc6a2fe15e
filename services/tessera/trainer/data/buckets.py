"""Batches of samples of about one length, in few shapes: the same at any world size. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tessera.trainer.data.keys import Keys, consecutive

_SHORTEST = 8
_CHUNK = 64
"""Batches whose samples are sorted together: more pad less, fewer mix better."""


def shapes(longest: int) -> tuple[int, ...]:
    """The lengths that batches are padded to: 8, 16, 24, 32, 48, 64, 96 … and `longest`."""
    found, power = [_SHORTEST], 2 * _SHORTEST
    while found[-1] < longest:
        found += [power, power * 3 // 2]
        power *= 2
    return (*(length for length in found if length < longest), longest)


def shape_of(lengths: NDArray[np.int64], available: tuple[int, ...]) -> NDArray[np.int64]:
    """[N] index of the shortest of the available shapes that each length fits in."""
    return np.searchsorted(np.asarray(available), lengths).astype(np.int64)


@dataclass(slots=True)
class BucketSampler:
    """Shuffles samples anew in every epoch, and keeps samples of about one length together.

    The position of a run is the number of samples consumed and nothing else. The last batch of an
    epoch goes on into the next one, whose batches are cut where the run's batches begin.

    Args:
        lengths: [N] of the samples.
        batch_size: samples of one step over all ranks.
        seed: of the order.
    """

    lengths: NDArray[np.int64]
    batch_size: int
    seed: int
    _shapes: NDArray[np.int64] = field(init=False, repr=False)
    _last: tuple[int, NDArray[np.int64]] | None = field(init=False, repr=False, default=None)

    def __post_init__(self) -> None:
        if not len(self.lengths):
            raise ValueError("no samples")
        self._shapes = shape_of(self.lengths, shapes(int(self.lengths.max())))

    @property
    def sequences(self) -> int:
        """Samples of one epoch."""
        return len(self.lengths)

    def order(self, epoch: int) -> NDArray[np.int64]:
        """[N] the samples of an epoch in the order of their use."""
        random = np.random.Generator(np.random.Philox(key=[self.seed, epoch]))
        order = random.permutation(self.sequences).astype(np.int64)
        # What the last batch of the epoch before lacks comes first, in no order of length.
        head = min(-epoch * self.sequences % self.batch_size, self.sequences)
        whole = (self.sequences - head) // self.batch_size * self.batch_size
        batches = order[head : head + whole]
        for at in range(0, whole, _CHUNK * self.batch_size):
            chunk = batches[at : at + _CHUNK * self.batch_size]
            # Stable, so that samples of one shape stay shuffled.
            chunk[:] = chunk[np.argsort(self._shapes[chunk], kind="stable")]
        rows = batches.reshape(-1, self.batch_size)
        rows[:] = rows[random.permutation(len(rows))]
        return order

    def keys(self, samples: int, count: int) -> Keys:
        """The `count` samples after `samples` consumed ones; a sample's number is its seed."""
        return consecutive(self._order, self.sequences, samples, count)

    def held_out(self, count: int) -> Keys:
        """At most `count` samples by length, evenly spread over all lengths; 0: all."""
        order = np.argsort(self.lengths, kind="stable").astype(np.int64)
        if 0 < count < len(order):
            order = order[np.arange(count, dtype=np.int64) * len(order) // count]
        return np.stack([order, order], axis=1)

    def _order(self, epoch: int) -> NDArray[np.int64]:
        if self._last is None or self._last[0] != epoch:
            self._last = (epoch, self.order(epoch))
        return self._last[1]
