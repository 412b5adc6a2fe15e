"""The tensors of a manifest as they came: made when they are looked at, sent on as they are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import overload

from tessera.api.parameters.v1 import manifest_pb2 as pb
from tessera.weights.manifest import TensorSpec


class TensorList(Sequence[TensorSpec]):
    """Tensors that are messages.

    Args:
        messages: of the tensors.
        make: a tensor of its message.
    """

    def __init__(
        self, messages: Sequence[pb.Tensor], make: Callable[[pb.Tensor], TensorSpec]
    ) -> None:
        self.messages = messages
        self._make = make

    def __len__(self) -> int:
        return len(self.messages)

    @overload
    def __getitem__(self, place: int) -> TensorSpec: ...
    @overload
    def __getitem__(self, place: slice) -> tuple[TensorSpec, ...]: ...
    def __getitem__(self, place: int | slice) -> TensorSpec | tuple[TensorSpec, ...]:
        return self._made[place]

    def __iter__(self) -> Iterator[TensorSpec]:
        return iter(self._made)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and self._made == tuple(other)

    __hash__ = None  # type: ignore[assignment]  # as lists have none

    @cached_property
    def sizes(self) -> dict[str, int]:
        """Bytes by group."""
        return _sizes(self._made)

    @cached_property
    def _made(self) -> tuple[TensorSpec, ...]:
        return tuple(map(self._make, self.messages))


def group_sizes(tensors: Sequence[TensorSpec]) -> dict[str, int]:
    """Bytes by group; of a list that was asked before, they are known."""
    return tensors.sizes if isinstance(tensors, TensorList) else _sizes(tensors)


def _sizes(tensors: Sequence[TensorSpec]) -> dict[str, int]:
    sizes: dict[str, int] = {}
    for tensor in tensors:
        sizes[tensor.group] = sizes.get(tensor.group, 0) + tensor.size
    return sizes
