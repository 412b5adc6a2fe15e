"""The slices of a version by the tensor that they are of. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tessera.weights.box import Box
from tessera.weights.box_tree import Numbers
from tessera.weights.layout import Layout, View, interned
from tessera.weights.reshape import Shape


class SliceIndex:
    """Made once for all that is read of a version; a tensor's layout is found when it is asked for.

    Args:
        shapes: of the tensors.
        tensors: which each slice is of; the same number of them as of boxes.
        boxes: of the slices.
        views: what each is a box of; empty: all of the tensor itself.
    """

    def __init__(
        self,
        shapes: Sequence[Shape],
        tensors: Sequence[int],
        boxes: Sequence[Box],
        views: Sequence[View] = (),
    ) -> None:
        self._shapes = shapes
        self._boxes = boxes
        self._views = views
        of = np.fromiter(tensors, np.int64, len(boxes))
        self._order = np.argsort(of, kind="stable")
        self._starts = np.searchsorted(of[self._order], np.arange(len(shapes) + 1))
        self._known: dict[int, tuple[Layout, Numbers]] = {}

    def of(self, tensor: int) -> tuple[Layout, Numbers]:
        """The layout of a tensor, and which slice of the version each of its slices is.

        Raises:
            ValueError: a slice has not as many axes as what it is a box of.
        """
        if tensor not in self._known:
            ours = self.slices(tensor)
            places = ours.tolist()
            layout, numbers = interned(
                self._shapes[tensor],
                [self._boxes[place] for place in places],
                [self._views[place] for place in places] if self._views else (),
            )
            self._known[tensor] = layout, ours[numbers]
        return self._known[tensor]

    def slices(self, tensor: int) -> Numbers:
        """Which slices of the version are of a tensor, in order."""
        return self._order[self._starts[tensor] : self._starts[tensor + 1]]
