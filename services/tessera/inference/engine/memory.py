"""Whether a model and its caches can fit into the memory of a device at all."""

from __future__ import annotations

import torch

from tessera import errors
from tessera.device import total_memory
from tessera.inference.engine.settings import EngineSettings
from tessera.models.config import ModelConfig
from tessera.models.tasks import kind_of

_GIB = 1 << 30


def cache_bytes(config: ModelConfig, settings: EngineSettings, dtype: torch.dtype) -> int:
    """Bytes of the keys and values that an engine keeps for a model."""
    stack = config.decoder
    if stack is None or not kind_of(config.task).writes:
        return 0
    blocks = settings.blocks_for(config.context) + 1
    caches = 2 if config.encoder is not None else 1
    token = 2 * stack.layers * stack.kv_heads * stack.head_dim * dtype.itemsize
    return caches * blocks * settings.block_size * token


def check_fits(needed: int, device: torch.device, what: str, remedy: str) -> None:
    """Raise if something is larger than all memory of a device, however empty that is.

    Args:
        needed: bytes.
        device: where it should lie.
        what: that needs them.
        remedy: what the caller may do.

    Raises:
        FailedPreconditionError: MEMORY_TOO_SMALL.
    """
    total = total_memory(device)
    if needed > total:
        raise errors.FailedPreconditionError(
            f"{what} of {needed / _GIB:.1f} GiB can never fit: all memory of the {device.type} is"
            f" {total / _GIB:.1f} GiB; {remedy}",
            reason="MEMORY_TOO_SMALL",
            metadata={"needed": str(needed), "total": str(total)},
        )
