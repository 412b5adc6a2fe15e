"""Where every tensor of a version lies on this rank: names, boxes and bytes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.distributed.tensor._utils import compute_local_shape_and_global_offset

from tessera.device import HOST
from tessera.models.buffers import kept_tensors
from tessera.torch_dtypes import dtype_name, torch_dtype
from tessera.trainer.step.parallel import flat_bytes, local
from tessera.trainer.tuning import ADAPTERS
from tessera.weights.box import Box
from tessera.weights.manifest import TensorSpec

MODEL, OPTIMIZER, STATE = "model", "optimizer", "state"


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalTensor:
    """A tensor of a version and this rank's part of it.

    Args:
        spec: the whole tensor.
        box: of the part.
        part: the live memory of the part; None: it lies on another rank only.
        replicated: whether every rank has the same part.
    """

    spec: TensorSpec
    box: Box
    part: Tensor | None
    replicated: bool


def layout(
    module: nn.Module,
    optimizer: torch.optim.Optimizer | None = None,
    *,
    adapters: bool = True,
) -> list[LocalTensor]:
    """Tensors of the group `model` and, with an optimizer, `optimizer`: on all ranks the same.

    Persistent buffers are of the model too; no optimizer has states of them.

    Args:
        module: as it is spread over the ranks.
        optimizer: has states of what learns.
        adapters: whether those are among the tensors.
    """
    named = [
        (name, tensor)
        for name, tensor in kept_tensors(module).items()
        if adapters or not name.endswith(ADAPTERS)
    ]
    placed = [_placed(MODEL, name, tensor) for name, tensor in named]
    if optimizer is not None:
        for name, tensor in named:
            # None: it never learns. What is no tensor the optimizer was made with.
            states = optimizer.state.get(tensor, {})
            placed.extend(
                _placed(OPTIMIZER, f"{kind}/{name}", states[kind])
                for kind in sorted(states)
                if isinstance(states[kind], Tensor)
            )
    return placed


def owned(
    placed: Sequence[LocalTensor], rank: int, world_size: int
) -> Iterator[tuple[int, LocalTensor]]:
    """What this rank pushes, with its index: its slices, and its turn of the replicated tensors."""
    for index, item in enumerate(placed):
        mine = index % world_size == rank if item.replicated else True
        if mine and item.part is not None and item.box.elements:
            yield index, item


def to_bytes(part: Tensor) -> NDArray[np.uint8]:
    """The bytes of a part, 1-D, row-major; without a copy where they lie so on the host."""
    return flat_bytes(part).to(HOST).numpy()


def fill(part: Tensor, content: NDArray[np.uint8], dtype: str) -> None:
    """Put bytes that `to_bytes` made back into a part.

    Args:
        part: of the same number of elements.
        content: the bytes.
        dtype: of the elements in them; the part may have another one.
    """
    flat = torch.from_numpy(content).view(torch_dtype(dtype))
    with torch.no_grad():
        part.copy_(flat.reshape(part.shape))


def _placed(group: str, name: str, tensor: Tensor) -> LocalTensor:
    spec = TensorSpec(
        group=group, name=name, shape=tuple(tensor.shape), dtype=dtype_name(tensor.dtype)
    )
    if not isinstance(tensor, DTensor):
        return LocalTensor(spec=spec, box=spec.box, part=local(tensor), replicated=True)
    shape, offset = compute_local_shape_and_global_offset(
        tensor.shape, tensor.device_mesh, tensor.placements
    )
    replicated = all(placement.is_replicate() for placement in tensor.placements)
    box = Box(tuple(offset), tuple(shape))
    return LocalTensor(spec=spec, box=box, part=local(tensor), replicated=replicated)
