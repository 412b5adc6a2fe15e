"""Adapters into the weights beside them. Numpy only: bfloat16 comes as uint16."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tessera import errors
from tessera.dtypes import FLOATS, numpy_name
from tessera.models import floats
from tessera.models.config import ModelConfig

Array = NDArray[Any]
Floats = NDArray[np.float32]

_ADAPTER = (".lora_a", ".lora_b")
_KINDS = {numpy_name(dtype): dtype for dtype in FLOATS}


def merge(
    config: ModelConfig, arrays: Mapping[str, Array]
) -> tuple[ModelConfig, Mapping[str, Array]]:
    """A model that does the same without adapters; one that has none is left as it is.

    Args:
        config: of the model.
        arrays: its weights by name, all of one element type.

    Raises:
        FailedPreconditionError: EXPORT_UNSUPPORTED: an adapter is beside a weight that an embedding
            has too.
    """
    if config.lora is None:
        return config, arrays
    merged = {name: array for name, array in arrays.items() if not name.endswith(_ADAPTER)}
    for name in arrays:
        layer, _, kind = name.rpartition(".")
        if kind == "lora_a":
            weight = arrays.get(f"{layer}.weight")
            if weight is None:
                raise errors.FailedPreconditionError.at(
                    "tuning.lora.targets",
                    f"the weight of `{layer}` is an embedding's too, so that its adapter cannot be"
                    " merged into it; adapt other layers, or do not tie embeddings",
                    "EXPORT_UNSUPPORTED",
                )
            low = _floats(arrays[f"{layer}.lora_b"]) @ _floats(arrays[name])
            merged[f"{layer}.weight"] = _like(_floats(weight) + config.lora.scale * low, weight)
    return replace(config, lora=None), merged


def _floats(array: Array) -> Floats:
    return floats.values(array, _kind(array)).astype(np.float32, copy=False)


def _like(values: Floats, array: Array) -> Array:
    """In the element type of another array."""
    return floats.converted(values, "F32", _kind(array))


def _kind(array: Array) -> str:
    return _KINDS[array.dtype.name]
