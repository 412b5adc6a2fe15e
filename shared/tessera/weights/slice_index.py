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
        # Of every tensor in the order of its layout, once that is known.
        self._laid = self._order.copy()
        self._layouts: list[Layout | None] = [None] * len(shapes)
        self._alike: dict[tuple[Shape, View, bytes], Layout] = {}

    def layout(self, tensor: int) -> Layout:
        """The layout of a tensor.

        Raises:
            ValueError: a slice has not as many axes as what it is a box of.
        """
        found = self._layouts[tensor]
        if found is None:
            begin, end = self._begins[tensor], self._begins[tensor + 1]
            if end - begin == 1 and self._columns is not None:
                found = self._single(self._shapes[tensor], self._columns, self._places[begin])
            else:
                ours = self._order[begin:end]
                found, numbers = self._several(tensor, ours)
                self._laid[begin:end] = ours[numbers]
            self._layouts[tensor] = found
        return found

    def rows(self, tensors: Numbers, numbers: Numbers) -> Numbers:
        """Which slices of the version those are that layouts of tensors have under some numbers.

        Args:
            tensors: whose layouts are known.
            numbers: of a slice in the layout of each.
        """
        found: Numbers = self._laid[self._starts[tensors] + numbers]
        return found

    def of(self, tensor: int) -> tuple[Layout, Numbers]:
        """The layout of a tensor, and which slice of the version each of its slices is."""
        layout = self.layout(tensor)
        return layout, self._laid[self._begins[tensor] : self._begins[tensor + 1]]

    @cached_property
    def _begins(self) -> list[int]:
        begins: list[int] = self._starts.tolist()
        return begins

    @cached_property
    def _places(self) -> list[int]:
        places: list[int] = self._order.tolist()
        return places

    def _single(self, shape: Shape, boxes: BoxColumns, place: int) -> Layout:
        """Of the many small tensors that are one slice, those that are alike have one layout."""
        view = self._views[place] if self._views else None
        key = (shape, view, boxes.key(place))
        layout = self._alike.get(key)
        if layout is None:
            layout, _ = interned(shape, [boxes[place]], [view])
            self._alike[key] = layout
        return layout

    def _several(self, tensor: int, ours: Numbers) -> tuple[Layout, Numbers]:
        """The layout of slices of a tensor, and the number among them of each of its slices."""
        boxes: Sequence[Box]
        if self._columns is not None:
            boxes = self._columns.take(ours)
        else:
            boxes = [self._boxes[place] for place in ours.tolist()]
        views = list(self._views.take(ours).each(len(ours))) if self._views else ()
        return interned(self._shapes[tensor], boxes, views)
