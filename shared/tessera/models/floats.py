"""Floating-point numbers of every element type in numpy, which has no bfloat16."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tessera.dtypes import FLOATS

Array = NDArray[Any]

_EXPONENT = 0x7F80
"""Of a bfloat16: all set in what is infinite or no number."""

_CHUNK = 1 << 22
"""Elements that are looked at together."""


def widest(dtypes: Iterable[str]) -> str:
    """The narrowest of `FLOATS` that holds every number of all of them exactly."""
    kinds = set(dtypes)
    if len(kinds) == 1:
        return kinds.pop()
    return "F64" if "F64" in kinds else "F32"


def values(array: Array, dtype: str) -> Array:
    """The numbers themselves, in float32 or float64; what has one of these already is no copy."""
    if dtype == "BF16":
        return (array.astype(np.uint32) << np.uint32(16)).view(np.float32)
    if dtype == "F16":
        return array.astype(np.float32)
    return array if dtype in FLOATS else array.astype(np.float64)


def converted(array: Array, dtype: str, wanted: str) -> Array:
    """The numbers in another element type, to the nearest where that is narrower."""
    if dtype == wanted:
        return array
    numbers = values(array, dtype)
    if wanted == "F64":
        return numbers.astype(np.float64)
    single = numbers.astype(np.float32)
    if wanted == "F16":
        with np.errstate(over="ignore"):  # What is too large is infinite, as in torch.
            return single.astype(np.float16)
    return _rounded(single) if wanted == "BF16" else single


def count_not_finite(array: Array, dtype: str) -> int:
    """How many of the numbers are infinite or none."""
    flat, total = array.reshape(-1), 0
    for start in range(0, len(flat), _CHUNK):
        part = flat[start : start + _CHUNK]
        if dtype == "BF16":
            total += int(np.count_nonzero((part & _EXPONENT) == _EXPONENT))
        else:
            total += len(part) - int(np.count_nonzero(np.isfinite(part)))
    return total


def equal(one: Array, one_dtype: str, other: Array, other_dtype: str) -> bool:
    """Whether two tensors hold the same bits, or the same numbers in two element types."""
    if one.shape != other.shape:
        return False
    first, second = one.reshape(-1), other.reshape(-1)
    for start in range(0, len(first), _CHUNK):
        left, right = first[start : start + _CHUNK], second[start : start + _CHUNK]
        if one_dtype == other_dtype:
            same = np.array_equal(_bits(left), _bits(right))
        else:
            same = np.array_equal(values(left, one_dtype), values(right, other_dtype))
        if not same:
            return False
    return True


def near(array: Array, dtype: str, expected: Array) -> bool:
    """Whether a tensor holds what was computed, as precisely as its element type can."""
    numbers = values(array, dtype)
    if numbers.size != expected.size:
        return False
    tolerance = {"F32": 1e-4, "F64": 1e-4, "F16": 2e-3, "BF16": 1e-2}.get(dtype, 0)
    ours = np.broadcast_to(expected.reshape(-1), numbers.size)
    return np.allclose(numbers.reshape(-1), ours, rtol=tolerance, atol=tolerance)


def _bits(array: Array) -> Array:
    return np.ascontiguousarray(array).view(np.uint8)


def _rounded(single: Array) -> Array:
    """To bfloat16: the nearest, of two as near the even one."""
    bits = np.ascontiguousarray(single).view(np.uint32)
    halves = (bits >> np.uint32(16)) & np.uint32(1)
    near_bits = ((bits + np.uint32(0x7FFF) + halves) >> np.uint32(16)).astype(np.uint16)
    quiet = ((bits >> np.uint32(16)) | np.uint32(0x40)).astype(np.uint16)
    return np.where(np.isnan(single), quiet, near_bits)
