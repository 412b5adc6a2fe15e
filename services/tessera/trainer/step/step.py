"""One optimizer step, the same whatever the number of ranks and micro-batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tessera.device import Device
from tessera.trainer.batch import TokenBatch
from tessera.trainer.step.objective import Objective
from tessera.trainer.step.parallel import Parallel


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedStep:
    """What a step left: this rank's sums of the terms, and the norm of the whole gradient."""

    losses: Tensor
    norm: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Stepper:
    """Takes optimizer steps.

    Args:
        world_size: number of ranks that the strategy averages gradients over.
        clip_norm: largest norm of the gradient; 0: any.
        bf16: whether to compute in bfloat16.
        frozen_at_start: weights that do not learn yet in the first steps.
    """

    parallel: Parallel
    optimizer: torch.optim.Optimizer
    objective: Objective
    device: Device
    world_size: int
    clip_norm: float
    bf16: bool
    frozen_at_start: Sequence[nn.Parameter] = ()

    def step(
        self, batches: Sequence[TokenBatch], counts: Sequence[float], rate: float, *, hold: bool
    ) -> TrainedStep:
        """Train on this rank's micro-batches.

        Args:
            batches: at least one.
            counts: targets of every term over all ranks and micro-batches of the step.
            rate: learning rate.
            hold: whether the weights that are held do not learn yet.
        """
        terms = self.objective.terms
        total = torch.zeros(len(terms), device=self.device.torch)
        # The strategies average over the ranks; what is wanted is the sum over all targets.
        scales = [
            self.world_size * term.weight / max(1.0, count)
            for term, count in zip(terms, counts, strict=True)
        ]
        for index, batch in enumerate(batches):
            with self.parallel.synchronizing(now=index == len(batches) - 1):
                with self.device.autocast(bf16=self.bf16):
                    losses = self.objective.losses(self.parallel.model, batch.to(self.device.torch))
                parts = zip(losses.unbind(), scales, strict=True)
                sum(loss * scale for loss, scale in parts).backward()  # type: ignore[union-attr]
            total += losses.detach()
        if hold:
            # Without a gradient AdamW leaves a weight alone, weight decay included.
            for parameter in self.frozen_at_start:
                parameter.grad = None
        norm = self.parallel.clip(self.clip_norm)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.parallel.agree_on_buffers()
        return TrainedStep(losses=total, norm=norm)
