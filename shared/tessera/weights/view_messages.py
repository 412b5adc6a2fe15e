"""Between the protobuf messages of views and what they are here."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tessera import errors
from tessera.api.parameters.v1 import manifest_pb2 as pb
from tessera.weights.reshape import MOST_AXES, Shape, View
from tessera.weights.view_column import ViewColumn


def view_to_pb(view: View) -> pb.View | None:
    """A view as a message; None: the tensor itself."""
    return None if view is None else pb.View(shape=view)


def view_from_pb(message: pb.View) -> Shape:
    """A view from a message.

    Raises:
        InvalidArgumentError: it is none, or of more axes than a box can have (INVALID_VIEW).
    """
    shape = tuple(message.shape)
    if len(shape) > MOST_AXES or min(shape, default=0) < 0:
        text = f"{list(shape)} is no shape of at most {MOST_AXES} axes"
        raise errors.InvalidArgumentError.at("view", text, "INVALID_VIEW")
    return shape


def views_to_pb(column: ViewColumn) -> list[pb.View]:
    """The views of a column, each once, as a table has them beside their numbers."""
    return [pb.View(shape=shape) for shape in column.shapes]


def views_from_pb(views: Sequence[pb.View], numbers: Sequence[int]) -> ViewColumn:
    """The column of views that a table has; whether it fits the others is not looked at.

    Raises:
        InvalidArgumentError: a view is none (INVALID_VIEW).
    """
    return ViewColumn(tuple(map(view_from_pb, views)), np.fromiter(numbers, np.int64, len(numbers)))
