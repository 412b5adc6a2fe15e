"""What lies between two versions, tensor by tensor: numpy only, a part of each in memory at a time.

Tensors whose slices have the same boxes and checksums are the same, and are not read.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tessera.dtypes import numpy_name
from tessera.rpc.token import Token
from tessera.weights.box import Box
from tessera.weights.coordinator import Coordinator
from tessera.weights.manifest import Manifest, TensorSpec, Version
from tessera.weights.pull import Want, pull

PART_BYTES = 32 * 1024 * 1024
"""Of each side, in memory at a time."""

Array = NDArray[Any]
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorChange:
    """How a tensor differs: all norms are Frobenius norms, computed in float64.

    Attributes:
        name: of the tensor.
        shape: that it has in both.
        dtype: that it has in both.
        differing: elements that are not the same bits.
        norm: of what it was.
        distance: norm of the difference.
        largest: the largest difference of an element.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    differing: int
    norm: float
    distance: float
    largest: float

    @property
    def relative(self) -> float:
        """The distance in norms of what it was; infinite where that was zero."""
        return self.distance / self.norm if self.norm else math.inf


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionDiff:
    """What lies between two versions of the same group.

    Attributes:
        old: the first.
        new: the second.
        group: whose tensors were compared.
        same: how many are the same.
        changed: those that differ, the largest relative change first.
        removed: names of those that only the first has.
        added: names of those that only the second has.
        recast: those whose shape or element type differs, as text.
    """

    old: Version
    new: Version
    group: str
    same: int
    changed: tuple[TensorChange, ...]
    removed: tuple[str, ...]
    added: tuple[str, ...]
    recast: tuple[str, ...]


def diff(  # noqa: PLR0917 - a contract with callers
    coordinator: Coordinator,
    token: Token,
    old: tuple[str, int],
    new: tuple[str, int],
    group: str,
    progress: Progress | None = None,
) -> VersionDiff:
    """Compare the tensors of a group of two versions.

    Args:
        coordinator: of the parameter service.
        token: of the caller.
        old: full name of the set, and version; 0: its head.
        new: the other one.
        group: whose tensors to compare.
        progress: hears how many bytes have been compared, and of how many.

    Raises:
        NotFoundError: there is no such set, version or group.
        DataLossError: bytes do not match their checksums.
    """
    with ExitStack() as pins:
        sides = []
        for name, version in (old, new):
            reading = coordinator.reading(name, version, (group,), "diff")
            sides.append(pins.enter_context(reading))
        return _compare(sides[0], sides[1], group, token, progress or (lambda _, __: None))


def _compare(
    old: Manifest, new: Manifest, group: str, token: Token, progress: Progress
) -> VersionDiff:
    before, after = old.group(group), new.group(group)
    common = [name for name in before if name in after]
    recast = [
        f"{name}: {_kind(before[name])} → {_kind(after[name])}"
        for name in common
        if _kind(before[name]) != _kind(after[name])
    ]
    same_kind = [name for name in common if _kind(before[name]) == _kind(after[name])]
    digests = _digests(old, group), _digests(new, group)
    read = [name for name in same_kind if digests[0][name] != digests[1][name]]
    size, done, changed = sum(before[name].size for name in read), 0, []
    for name in read:
        sums = _Sums()
        for box in _parts(before[name]):
            sums.add(*(_read(side, group, name, box, token) for side in (old, new)))
            done += box.elements * before[name].element_size
            progress(done, size)
        if sums.differing:
            changed.append(sums.change(before[name]))
    changed.sort(key=lambda change: (-change.relative, change.name))
    return VersionDiff(
        old=old.version,
        new=new.version,
        group=group,
        same=len(same_kind) - len(changed),
        changed=tuple(changed),
        removed=tuple(name for name in before if name not in after),
        added=tuple(name for name in after if name not in before),
        recast=tuple(recast),
    )


def _kind(tensor: TensorSpec) -> str:
    return f"{tensor.dtype} {list(tensor.shape)}"


def _digests(manifest: Manifest, group: str) -> dict[str, list[tuple[object, int]]]:
    """What is known of the bytes of each tensor: the checksums of its slices, by their boxes."""
    found: dict[str, list[tuple[object, int]]] = {
        tensor.name: [] for tensor in manifest.tensors if tensor.group == group
    }
    for source in manifest.slices:
        tensor = manifest.tensors[source.tensor]
        if tensor.group == group:
            box = (source.box.offsets, source.box.extents, source.view)
            found[tensor.name].append((box, source.checksum))
    return {name: sorted(digests, key=repr) for name, digests in found.items()}


def _parts(tensor: TensorSpec) -> Iterator[Box]:
    return tensor.box.blocks(PART_BYTES // tensor.element_size)


def _read(manifest: Manifest, group: str, name: str, box: Box, token: Token) -> tuple[Array, str]:
    """A box of a tensor as the bits that it has, and their element type."""
    tensor = manifest.tensors[manifest.index(group, name)]
    out = np.empty(box.elements * tensor.element_size, np.uint8)
    pull(manifest, [Want(group=group, name=name, box=box, out=out)], token)
    return out.view(numpy_name(tensor.dtype)), tensor.dtype


class _Sums:
    """What is added up over the parts of a tensor."""

    def __init__(self) -> None:
        self.differing = 0
        self._squares = 0.0
        self._distance = 0.0
        self._largest = 0.0

    def add(self, old: tuple[Array, str], new: tuple[Array, str]) -> None:
        """The next part of both."""
        self.differing += _differing(old[0], new[0])
        before, after = (_numbers(*side) for side in (old, new))
        apart = np.abs(after - before)
        self._squares += float(np.dot(before, before))
        self._distance += float(np.dot(apart, apart))
        self._largest = max(self._largest, float(apart.max(initial=0.0)))

    def change(self, tensor: TensorSpec) -> TensorChange:
        """What they come to."""
        return TensorChange(
            name=tensor.name,
            shape=tensor.shape,
            dtype=tensor.dtype,
            differing=self.differing,
            norm=math.sqrt(self._squares),
            distance=math.sqrt(self._distance),
            largest=self._largest,
        )


def _differing(old: Array, new: Array) -> int:
    """Elements that have other bits: a NaN is the same as itself."""
    size = old.dtype.itemsize
    rows: Sequence[Array] = [side.view(np.uint8).reshape(-1, size) for side in (old, new)]
    return int(np.count_nonzero((rows[0] != rows[1]).any(axis=1)))


def _numbers(bits: Array, dtype: str) -> Array:
    """The values as float64, of a complex number its two parts; of small floats else their bits."""
    if dtype == "F8_E4M3":
        return _E4M3[bits]
    if dtype == "BF16":
        bits = (bits.astype(np.uint32) << 16).view(np.float32)
    elif dtype == "F8_E5M2":
        bits = (bits.astype(np.uint16) << 8).view(np.float16)
    elif dtype in _PARTS:
        bits = bits.view(_PARTS[dtype])
    with np.errstate(invalid="ignore"):  # A signalling NaN is as good as another one.
        return bits.astype(np.float64)


def _e4m3() -> Array:
    """Values of the 256 numbers of OCP's E4M3 (OFP8, 5.3.1): no infinity, one NaN of each sign."""
    bits = np.arange(256)
    exponent, fraction = (bits >> 3) & 15, bits & 7
    normal = (1 + fraction / 8) * 2.0 ** (exponent - 7)
    values = np.where(exponent == 0, fraction / 8 * 2.0**-6, normal)
    values[(bits & 0x7F) == 0x7F] = np.nan  # noqa: PLR2004 - all bits but the sign
    return np.where(bits >> 7, -values, values)


_E4M3 = _e4m3()
_PARTS = {"C32": np.float16, "C64": np.float32, "C128": np.float64}
