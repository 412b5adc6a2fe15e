"""The slices of a version by the tensor that they are of. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Protocol, runtime_checkable

import numpy as np

from tessera.weights.box import Box
from tessera.weights.box_columns import BoxColumns
from tessera.weights.box_tree import Numbers
from tessera.weights.layout import Layout, interned
from tessera.weights.reshape import Shape, View
from tessera.weights.view_column import ViewColumn


class BoxOfTensor(Protocol):
    """A box of a tensor."""

    @property
    def tensor(self) -> int:
        """Its index."""

    @property
    def box(self) -> Box:
        """The box."""

    @property
    def view(self) -> View:
        """What it is a box of."""


@runtime_checkable
class Columns(Protocol):
    """Slices that are kept by columns."""

    @property
    def tensors(self) -> Numbers:
        """The tensor that each is of."""

    @property
    def boxes(self) -> BoxColumns:
        """The box of each."""

    @property
    def views(self) -> ViewColumn:
        """What each is a box of."""


def columns_of(
    slices: Sequence[BoxOfTensor],
) -> tuple[Sequence[int] | Numbers, Sequence[Box], ViewColumn]:
    """The tensors that slices are of, their boxes, and what those are boxes of."""
    if isinstance(slices, Columns):
        return slices.tensors, slices.boxes, slices.views
    views = ViewColumn.of([source.view for source in slices])
    return [source.tensor for source in slices], [source.box for source in slices], views


class SliceIndex:
    """Made once for all that is read of a version; a tensor's layout is found when it is asked for.

    Args:
        shapes: of the tensors.
        tensors: which each slice is of; the same number of them as of boxes.
        boxes: of the slices.
        views: what each is a box of; None: all of the tensor itself.
    """

    def __init__(
        self,
        shapes: Sequence[Shape],
        tensors: Sequence[int] | Numbers,
        boxes: Sequence[Box],
        views: ViewColumn | None = None,
    ) -> None:
        self._shapes = shapes
        self._boxes = boxes
        self._views = views or None
        self._columns = boxes if isinstance(boxes, BoxColumns) else None
        of = np.asarray(tensors, np.int64)
        self._order = np.argsort(of, kind="stable")
        self._starts = np.searchsorted(of[self._order], np.arange(len(shapes) + 1))
        self._known: dict[int, tuple[Layout, Numbers]] = {}
        self._alike: dict[tuple[Shape, bytes], Layout] = {}

    def of(self, tensor: int) -> tuple[Layout, Numbers]:
        """The layout of a tensor, and which slice of the version each of its slices is.

        Raises:
            ValueError: a slice has not as many axes as what it is a box of.
        """
        found = self._known.get(tensor)
        if found is None:
            begin, end = self._bounds[tensor]
            ours = self._order[begin:end]
            plain = self._views is None or not self._views.among(ours)
            if end - begin == 1 and plain and self._columns is not None:
                found = self._single(tensor, self._columns.key(self._places[begin])), ours
            else:
                found = self._several(tensor, ours)
            self._known[tensor] = found
        return found

    def slices(self, tensor: int) -> Numbers:
        """Which slices of the version are of a tensor, in order."""
        begin, end = self._bounds[tensor]
        return self._order[begin:end]

    @cached_property
    def _bounds(self) -> list[tuple[int, int]]:
        return list(zip(self._starts[:-1].tolist(), self._starts[1:].tolist(), strict=True))

    @cached_property
    def _places(self) -> list[int]:
        places: list[int] = self._order.tolist()
        return places

    def _single(self, tensor: int, box: bytes) -> Layout:
        """Of the many small tensors that are one slice, those that are alike have one layout."""
        key = (self._shapes[tensor], box)
        layout = self._alike.get(key)
        if layout is None:
            self._alike[key] = layout = self._several(tensor, self.slices(tensor))[0]
        return layout

    def _several(self, tensor: int, ours: Numbers) -> tuple[Layout, Numbers]:
        boxes: Sequence[Box]
        if self._columns is not None:
            boxes = self._columns.take(ours)
        else:
            boxes = [self._boxes[place] for place in ours.tolist()]
        views = list(self._views.take(ours).each(len(ours))) if self._views else ()
        layout, numbers = interned(self._shapes[tensor], boxes, views)
        return layout, ours[numbers]
