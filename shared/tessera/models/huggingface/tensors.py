"""Where the numbers of our tensors are in a checkpoint. Numpy only, blind to the element type."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tessera import errors

Array = NDArray[Any]


class Tensor(Protocol):
    """A tensor of a checkpoint, wherever its numbers are or come from."""

    @property
    def dtype(self) -> str:
        """Element type in safetensors' spelling."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Its sizes."""

    def read(self) -> Array:
        """The elements, of numpy's type with the same bits."""


@dataclass(frozen=True, slots=True)
class Computed:
    """A tensor that is stored although the config says what is in it.

    Args:
        values: its numbers, given its shape; None: any, since no code reads them.
        needed: whether the model computes with what is stored, so that other numbers make it
            another model.
    """

    values: Callable[[tuple[int, ...]], Array] | None
    needed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One of our tensors and its parts in a checkpoint.

    Args:
        ours: its name.
        shape: of ours.
        theirs: names of the parts, which stand below one another in ours.
        rows: of each part; may be left out where there is one.
        transposed: whether theirs is [in, out].
        framed: whether theirs has a first axis of one more.
        buffer: whether it is no weight: it keeps its own element type, whatever the model's.
    """

    ours: str
    shape: tuple[int, ...]
    theirs: tuple[str, ...]
    rows: tuple[int, ...] = ()
    transposed: bool = False
    framed: bool = False
    buffer: bool = False

    @property
    def parts(self) -> dict[str, tuple[int, ...]]:
        """Shape of each part as theirs has it."""
        rest = self.shape[1:]
        shapes = [(rows, *rest) for rows in self.rows or self.shape[:1]] or [()]
        if self.framed:
            shapes = [(1, *shape) for shape in shapes]
        elif self.transposed:
            shapes = [shape[::-1] for shape in shapes]
        return dict(zip(self.theirs, shapes, strict=True))

    def from_theirs(self, part: Array) -> Array:
        """One part as it stands in ours: a view of it, perhaps turned."""
        if self.framed:
            return np.squeeze(part, 0)
        return part.T if self.transposed and part.ndim > 1 else part

    def to_theirs(self, array: Array) -> Iterator[tuple[str, Array]]:
        """The parts of ours by their names."""
        if not array.ndim:
            yield self.theirs[0], array
            return
        start = 0
        for name, rows in zip(self.theirs, self.rows or (len(array),), strict=True):
            part = array[start : start + rows]
            start += rows
            if self.framed:
                part = part[None]
            elif self.transposed and part.ndim > 1:
                part = part.T
            yield name, np.ascontiguousarray(part)


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorPlan:
    """All tensors of a model, ours beside theirs.

    Args:
        entries: what both have.
        copies: names that their files may repeat, and of what; written where they are no ties.
        blanks: what only theirs has and nobody trained: shapes; zeros when written.
        left_out: beginnings of our names that have no place there.
        ties: groups of their names for one tensor, the one that others are tied to first.
        instead: a name, and the one of its group that is computed with where both are stored.
        computed: patterns of their names for what follows from the config.
        dropped: patterns of their names that ours has no place for.
    """

    entries: tuple[Entry, ...]
    copies: Mapping[str, str] = field(default_factory=dict)
    blanks: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()
    ties: tuple[tuple[str, ...], ...] = ()
    instead: Mapping[str, str] = field(default_factory=dict)
    computed: Mapping[str, Computed] = field(default_factory=dict)
    dropped: tuple[str, ...] = ()

    @property
    def buffers(self) -> dict[str, str]:
        """Names of ours that are no weights, by those of theirs."""
        return {name: e.ours for e in self.entries if e.buffer for name in e.theirs}

    def to_theirs(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        """A checkpoint's tensors.

        Raises:
            InvalidArgumentError: UNKNOWN_PARAMETER: the arrays are not those of such a model.
        """
        names = {entry.ours for entry in self.entries}
        strange = sorted(name for name in arrays if name not in names)
        strange = [name for name in strange if not name.startswith(self.left_out or ("\0",))]
        strange += sorted(names - set(arrays))
        if strange:
            raise errors.InvalidArgumentError(
                f"the model's config and its weights disagree about {listed(strange)}",
                reason="UNKNOWN_PARAMETER",
            )
        found = {
            name: part
            for entry in self.entries
            for name, part in entry.to_theirs(arrays[entry.ours])
        }
        found.update({copy: found[original].copy() for copy, original in self.copies.items()})
        weights = (entry for entry in self.entries if not entry.buffer)
        kind = arrays[next(weights).ours].dtype
        found.update({name: np.zeros(shape, kind) for name, shape in self.blanks.items()})
        return found


def listed(names: Sequence[str]) -> str:
    """The first few of some names, and how many more there are."""
    shown = ", ".join(f"`{name}`" for name in names[:3])
    return shown + (f" and {len(names) - 3} more" if len(names) > 3 else "")  # noqa: PLR2004
