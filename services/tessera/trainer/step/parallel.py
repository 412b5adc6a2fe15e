"""Spreads a single-device model over the ranks, and optimizes it there."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

from tessera.device import Device
from tessera.models.block import Block
from tessera.models.buffers import persistent_buffers
from tessera.trainer.ranks import Ranks
from tessera.trainer.settings import Settings

_LARGE_BYTES = 1024 * 1024
"""Of a buffer that is sent by itself."""


class Parallel:
    """A model in the layout of a strategy.

    Args:
        module: the same on every rank.
        strategy: `fsdp` or `ddp`.
        device: of this rank.
        ranks: the ranks.
        sparing: whether a pass may leave weights that learn without a gradient.
    """

    def __init__(
        self,
        module: nn.Module,
        strategy: str,
        device: Device,
        ranks: Ranks,
        *,
        sparing: bool = False,
    ) -> None:
        self.module = module.to(device.torch)
        self._ranks = ranks
        self._ddp: DistributedDataParallel | None = None
        if strategy == "fsdp":
            mesh = device.mesh(ranks.world_size)
            # What is tied or shared lies outside of the blocks, together in the root's group.
            for block in [part for part in module.modules() if isinstance(part, Block)]:
                fully_shard(block, mesh=mesh)
            fully_shard(module, mesh=mesh)
        else:
            # DDP sends them before a pass: what the last one of a step made would not be agreed on.
            ignore = DistributedDataParallel._set_params_and_buffers_to_ignore_for_model  # noqa: SLF001
            ignore(module, [name for name, _ in module.named_buffers(remove_duplicate=False)])  # type: ignore[no-untyped-call]
            self._ddp = DistributedDataParallel(module, find_unused_parameters=sparing)

    @property
    def model(self) -> nn.Module:
        """What is called in training."""
        return self._ddp or self.module

    def synchronizing(self, *, now: bool) -> AbstractContextManager[object]:
        """Backward passes inside reduce gradients over the ranks only if `now`."""
        if self._ddp is not None:
            return nullcontext() if now else self._ddp.no_sync()
        if isinstance(self.module, FSDPModule):
            self.module.set_requires_gradient_sync(now)
        return nullcontext()

    def reshard(self) -> None:
        """Give up what a pass without a backward one has gathered.

        FSDP keeps the root's parameters whole until the backward pass; meanwhile they are other
        tensors than those that the optimizer knows.
        """
        if isinstance(self.module, FSDPModule):
            self.module.reshard()

    def agree_on_buffers(self) -> None:
        """Give every rank the persistent buffers of rank 0, whatever its own batches made of them.

        A version keeps one of each, and a run that goes on from it has that one on every rank.
        What is not persistent is each rank's own.
        """
        kept = persistent_buffers(self.module).values()
        buffers = [buffer.detach() for buffer in kept if not isinstance(buffer, DTensor)]
        if not buffers or self._ranks.world_size == 1:
            return
        # As bytes, for few element types can be sent: what is small together, the rest as it lies.
        parts = [flat_bytes(buffer) for buffer in buffers]
        small = [at for at, part in enumerate(parts) if len(part) < _LARGE_BYTES]
        if small:
            together = torch.cat([parts[at] for at in small])
            self._ranks.overwrite(together)
            sizes = [len(parts[at]) for at in small]
            for at, content in zip(small, torch.split(together, sizes), strict=True):
                # Cloned: larger elements may not begin at any byte.
                parts[at] = content.clone()
        for part in parts:
            if len(part) >= _LARGE_BYTES:
                self._ranks.overwrite(part)
        for buffer, part in zip(buffers, parts, strict=True):
            if not self._ranks.is_main and part.data_ptr() != buffer.data_ptr():
                buffer.copy_(part.view(buffer.dtype).reshape(buffer.shape))

    def clip(self, limit: float) -> float:
        """Norm of the whole gradient over all ranks, which is then cut to `limit` (0: left)."""
        parameters = [p for p in self.module.parameters() if p.grad is not None]
        norm = torch.nn.utils.get_total_norm([p.grad for p in parameters])  # type: ignore[misc]
        if isinstance(norm, DTensor):
            norm = norm.full_tensor()
        if limit:
            torch.nn.utils.clip_grads_with_norm_(parameters, limit, norm)
        return float(norm)


def make_optimizer(module: nn.Module, settings: Settings) -> torch.optim.AdamW:
    """AdamW over what learns, its states in place; vectors (norms, biases) do not decay.

    Fused: one pass over the memory of each weight, which on a CPU takes a third of the time.
    """
    parameters = [p for p in module.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.dim() > 1], "weight_decay": settings.weight_decay},
        {"params": [p for p in parameters if p.dim() <= 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(
        groups, lr=settings.lr, betas=(settings.beta1, settings.beta2), fused=True
    )
    # Torch makes the states at the first step; a version may be taken, or loaded, before it.
    for parameter in parameters:
        optimizer.state[parameter] = {
            "step": torch.zeros((), dtype=torch.float32, device=parameter.device),
            "exp_avg": torch.zeros_like(parameter),
            "exp_avg_sq": torch.zeros_like(parameter),
        }
    return optimizer


def local(tensor: Tensor) -> Tensor:
    """This rank's part of a tensor, itself where it is not sharded; shares its memory."""
    found = tensor.detach()
    return found.to_local() if isinstance(found, DTensor) else found


def flat_bytes(tensor: Tensor) -> Tensor:
    """The bytes of a tensor, [n] uint8, row-major, on its device; a copy only if it must be."""
    # A conjugate or a negative may be a view that only says so.
    plain = tensor.detach().resolve_conj().resolve_neg()
    return plain.contiguous().reshape(-1).view(torch.uint8)
