"""Where the numbers of our tensors are in a checkpoint. Numpy only, blind to the element type."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tessera import errors

Array = NDArray[Any]


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
    """

    ours: str
    shape: tuple[int, ...]
    theirs: tuple[str, ...]
    rows: tuple[int, ...] = ()
    transposed: bool = False
    framed: bool = False

    @property
    def parts(self) -> dict[str, tuple[int, ...]]:
        """Shape of each part as theirs has it."""
        rest = self.shape[1:]
        shapes = [(rows, *rest) for rows in self.rows or self.shape[:1]]
        if self.framed:
            shapes = [(1, *shape) for shape in shapes]
        elif self.transposed:
            shapes = [shape[::-1] for shape in shapes]
        return dict(zip(self.theirs, shapes, strict=True))

    def from_theirs(self, part: Array) -> Array:
        """One part as it stands in ours; a copy only where it is turned."""
        if self.framed:
            return np.squeeze(part, 0)
        return np.ascontiguousarray(part.T) if self.transposed and part.ndim > 1 else part

    def to_theirs(self, array: Array) -> Iterator[tuple[str, Array]]:
        """The parts of ours by their names."""
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
class Plan:
    """All tensors of a model, ours beside theirs.

    Args:
        entries: what both have.
        copies: names that their files may repeat, and of what; written where they are no ties.
        blanks: what only theirs has and nobody trained: shapes; zeros when written.
        left_out: beginnings of our names that have no place there.
        ignored: patterns of their names that carry nothing: buffers and tied copies.
        dropped: patterns of their names that ours has no place for.
    """

    entries: tuple[Entry, ...]
    copies: Mapping[str, str] = field(default_factory=dict)
    blanks: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()

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
                f"the model's config and its weights disagree about {_listed(strange)}",
                reason="UNKNOWN_PARAMETER",
            )
        found = {
            name: part
            for entry in self.entries
            for name, part in entry.to_theirs(arrays[entry.ours])
        }
        found.update({copy: found[original].copy() for copy, original in self.copies.items()})
        kind = next(iter(found.values())).dtype
        found.update({name: np.zeros(shape, kind) for name, shape in self.blanks.items()})
        return found

    def locate(self, names: Iterable[str], base: str) -> tuple[dict[str, str], list[str]]:
        """Where in a checkpoint the parts are.

        Args:
            names: of its tensors.
            base: name of the model below the heads, which checkpoints write or leave out.

        Returns:
            Our spelling of each part's name to the checkpoint's, and the names without a use.

        Raises:
            InvalidArgumentError: INVALID_CHECKPOINT: parts are missing, or there are others.
        """
        there = set(names)
        wanted = [name for entry in self.entries for name in entry.theirs]
        found: dict[str, str] = {}
        for name in wanted:
            actual = next((n for n in _spellings(name, base) if n in there), None)
            if actual is not None:
                found[name] = actual
        missing = [name for name in wanted if name not in found]
        if missing:
            raise _invalid(f"the weights lack {_listed(missing)}")
        rest = sorted(there - set(found.values()))
        rest = [name for name in rest if not _matches(name, self.ignored)]
        strange = [name for name in rest if not _matches(name, self.dropped)]
        if strange:
            raise _invalid(f"the architecture has no {_listed(strange)}")
        return found, rest


def _spellings(name: str, base: str) -> Iterator[str]:
    """A name, and how older or bare checkpoints write it."""
    for known in (name, name.removeprefix(f"{base}."), f"{base}.{name}"):
        yield known
        if "LayerNorm" in known:
            yield known.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
                "LayerNorm.bias", "LayerNorm.beta"
            )


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(re.search(rf"(^|\.){pattern}$", name) for pattern in patterns)


def _listed(names: list[str]) -> str:
    shown = ", ".join(f"`{name}`" for name in names[:3])
    return shown + (f" and {len(names) - 3} more" if len(names) > 3 else "")  # noqa: PLR2004


def _invalid(description: str) -> errors.InvalidArgumentError:
    return errors.InvalidArgumentError(description, reason="INVALID_CHECKPOINT")
