"""What a push announces, as messages."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Protocol

from tessera.api.parameters.v1 import shard_pb2 as pb
from tessera.weights import messages
from tessera.weights.box import Box
from tessera.weights.reshape import View
from tessera.weights.strided import Bytes
from tessera.weights.view_column import ViewColumn
from tessera.weights.view_messages import view_to_pb, views_to_pb


class Pushed(Protocol):
    """A slice that is pushed."""

    @property
    def tensor(self) -> int:
        """Index of its tensor."""

    @property
    def group(self) -> str:
        """Group of that."""

    @property
    def box(self) -> Box:
        """Where it lies."""

    @property
    def view(self) -> View:
        """What its box is one of."""

    @property
    def data(self) -> Bytes:
        """Its bytes."""


def header_to_pb(item: Pushed, checksum: int) -> pb.SliceHeader:
    """The header of one slice."""
    return pb.SliceHeader(
        tensor=item.tensor,
        group=item.group,
        box=messages.box_to_pb(item.box),
        size=item.data.size,
        checksum=checksum,
        view=view_to_pb(item.view),
    )


def table_of_headers(items: Sequence[Pushed], checksums: Sequence[int]) -> pb.HeaderTable:
    """The headers of many."""
    groups: dict[str, int] = {}
    views = ViewColumn.of([item.view for item in items])
    return pb.HeaderTable(
        group=[groups.setdefault(item.group, len(groups)) for item in items],
        groups=list(groups),
        tensor=[item.tensor for item in items],
        axes=[len(item.box.offsets) for item in items],
        box_offsets=list(chain.from_iterable(item.box.offsets for item in items)),
        box_extents=list(chain.from_iterable(item.box.extents for item in items)),
        size=[item.data.size for item in items],
        checksum=checksums,
        views=views_to_pb(views),
        view=views.numbers.tolist(),
    )
