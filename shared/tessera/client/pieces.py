"""The numbers of a checkpoint's tensors as ours have them, some at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

import numpy as np

from tessera.dtypes import FLOATS, element_size
from tessera.models import floats
from tessera.models.huggingface.statement import plain
from tessera.models.huggingface.tensors import Array, Entry, Tensor
from tessera.weights.box import Box


class Pieces:
    """Tensors in their boxes, all weights in one element type.

    Args:
        parts: of a checkpoint, by their names.
        size: bytes that are copied together: what is neither turned nor widened is not copied.
        dtype: element type of the weights; buffers keep their own.
    """

    def __init__(self, parts: Mapping[str, Tensor], size: int, dtype: str) -> None:
        self._parts = parts
        self._size = size
        self._broken: Counter[str] = Counter()
        self._dtype = dtype

    def of(self, entry: Entry) -> Iterator[tuple[Box, Array]]:
        """One of our tensors, its parts below one another, some rows at a time."""
        row = 0
        for name in entry.theirs:
            dtype = self._parts[name].dtype
            wanted = dtype if entry.buffer else self._dtype
            part = entry.from_theirs(self._parts[name].read())
            if not part.ndim:
                yield Box((), ()), part
                return
            rows = max(1, self._size // max(1, part[:1].size * element_size(wanted)))
            for start in range(0, len(part), rows):
                some = part[start : start + rows]
                if dtype in FLOATS:
                    self._broken[name] += floats.count_not_finite(some, dtype)
                box = Box((row, *[0] * (part.ndim - 1)), some.shape)
                row += len(some)
                yield box, np.ascontiguousarray(floats.converted(some, dtype, wanted))

    def notes(self) -> Iterator[str]:
        """Which parts, of those that were read, hold numbers that are none."""
        for name, count in self._broken.items():
            if count:
                numbers = "number that is" if count == 1 else "numbers that are"
                yield f"{plain(name)} has {count} {numbers} not finite: answers may be none"


def widened(parts: Mapping[str, Tensor], dtype: str) -> Iterator[str]:
    """A note where parts were stored in a narrower type than that of all."""
    kinds = Counter(part.dtype for part in parts.values())
    if len(kinds) > 1:
        stored = ", ".join(f"{count} of {kind}" for kind, count in sorted(kinds.items()))
        yield f"the weights are of several element types ({stored}): all were widened to {dtype}"
