"""The views that boxes are of, by column: few shapes, and where there is none no column. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import repeat

import numpy as np

from tessera.weights.box_tree import Numbers
from tessera.weights.reshape import Shape, View

_NONE = np.empty(0, np.int64)


class ViewColumn:
    """What each of many boxes is one of.

    Args:
        shapes: each once.
        numbers: of the shape of each box, from 1; 0: its tensor's own. Empty: that of all of them.
    """

    def __init__(self, shapes: tuple[Shape, ...] = (), numbers: Numbers = _NONE) -> None:
        self.shapes = shapes
        self.numbers = numbers

    @staticmethod
    def of(views: Sequence[View]) -> ViewColumn:
        """The column of views."""
        if views.count(None) == len(views):
            return ViewColumn()
        known: dict[View, int] = {None: 0}
        numbers = np.array([known.setdefault(view, len(known)) for view in views], np.int64)
        return ViewColumn(tuple(shape for shape in known if shape is not None), numbers)

    @staticmethod
    def join(parts: Sequence[tuple[ViewColumn, int]]) -> ViewColumn:
        """Several columns, each of so many boxes, one after another."""
        if not any(part for part, _ in parts):
            return ViewColumn()
        return ViewColumn.of([view for part, count in parts for view in part.each(count)])

    def __bool__(self) -> bool:
        """Whether any box is one of a view."""
        return len(self.numbers) > 0

    def __getitem__(self, place: int) -> View:
        number = self.numbers[place] if self else 0
        return self.shapes[number - 1] if number else None

    def each(self, count: int) -> Iterable[View]:
        """The view of each of the boxes, of which there are so many."""
        if not self:
            return repeat(None, count)
        views = (None, *self.shapes)
        return [views[number] for number in self.numbers.tolist()]

    def fits(self, count: int) -> bool:
        """Whether it can be the column of so many boxes."""
        return not self or (
            len(self.numbers) == count
            and self.numbers.min() >= 0
            and self.numbers.max() <= len(self.shapes)
        )

    def take(self, rows: Numbers) -> ViewColumn:
        """The views of some boxes, in that order; no others are kept."""
        if not self.among(rows):
            return ViewColumn()
        kept, numbers = np.unique(np.append(0, self.numbers[rows]), return_inverse=True)
        return ViewColumn(tuple(self.shapes[number - 1] for number in kept[1:]), numbers[1:])

    def among(self, rows: Numbers) -> bool:
        """Whether any of some boxes is one of a view."""
        return bool(self) and bool(self.numbers[rows].any())

    def axes(self, own: Numbers) -> Numbers:
        """Numbers of axes, of those boxes that have no view `own`."""
        if not self:
            return own
        axes = np.array([0, *map(len, self.shapes)], np.int64)
        return np.where(self.numbers > 0, axes[self.numbers], own)

    def text(self, count: int) -> str:
        """The same for the same views in the same order, and only for those."""
        return ";".join("" if view is None else str(list(view)) for view in self.each(count))
