"""One optimizer step, the same whatever the number of ranks and micro-batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tessera.device import Device
from tessera.trainer.batch import Objective, TokenBatch
from tessera.trainer.parallel import Parallel


@dataclass(frozen=True, slots=True, kw_only=True)
class Stepped:
    """What a step left: this rank's summed loss and the norm of the whole gradient."""

    loss: Tensor
    norm: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Stepper:
    """Takes optimizer steps.

    Args:
        world_size: number of ranks that the strategy averages gradients over.
        clip_norm: largest norm of the gradient; 0: any.
        bf16: whether to compute in bfloat16.
    """

    parallel: Parallel
    optimizer: torch.optim.Optimizer
    objective: Objective
    device: Device
    world_size: int
    clip_norm: float
    bf16: bool

    def step(self, batches: Sequence[TokenBatch], targets: float, rate: float) -> Stepped:
        """Train on this rank's micro-batches.

        Args:
            batches: at least one.
            targets: targets of the step over all ranks and micro-batches.
            rate: learning rate.
        """
        total = torch.zeros((), device=self.device.torch)
        # The strategies average over the ranks; what is wanted is the sum over all targets.
        scale = self.world_size / targets
        for index, batch in enumerate(batches):
            with self.parallel.synchronizing(now=index == len(batches) - 1):
                with self.device.autocast(bf16=self.bf16):
                    loss = self.objective(self.parallel.model, batch.to(self.device.torch))
                (loss * scale).backward()  # type: ignore[no-untyped-call]
            total += loss.detach()
        norm = self.parallel.clip(self.clip_norm)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return Stepped(loss=total, norm=norm)
