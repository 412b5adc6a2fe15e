"""Element types as torch has them; for the parts that may import torch."""

from __future__ import annotations

import torch

from tessera import errors
from tessera.dtypes import DTYPES, library_name

_TORCH: dict[str, torch.dtype] = {name: getattr(torch, library_name(name)) for name in DTYPES}
_NAMES = {dtype: name for name, dtype in _TORCH.items()}


def torch_dtype(name: str) -> torch.dtype:
    """The type of torch's for one of `tessera.dtypes.DTYPES`."""
    return _TORCH[name]


def dtype_name(dtype: torch.dtype) -> str:
    """The name, in safetensors' spelling, of a type of torch's.

    Raises:
        InvalidArgumentError: tensors of the type have no bytes of their own (UNKNOWN_DTYPE).
    """
    if dtype not in _NAMES:
        raise errors.InvalidArgumentError(
            f"a tensor of {dtype} cannot be kept; convert it to a type whose elements are bytes",
            reason="UNKNOWN_DTYPE",
        )
    return _NAMES[dtype]
