"""Low-rank adapters beside linear layers (Hu et al., 2021)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from tessera.models.lora_config import LoRAConfig


class LoRALinear(nn.Linear):
    """A linear layer W x + b + scale * B A x. B begins as zero: at first nothing changes.

    Args:
        layer: its weights are taken over.
        config: of the adapter.
    """

    def __init__(self, layer: nn.Linear, config: LoRAConfig) -> None:
        with torch.device("meta"):
            super().__init__(layer.in_features, layer.out_features, bias=layer.bias is not None)
        self.weight, self.bias = layer.weight, layer.bias
        self.scale = config.scale
        kind, device = layer.weight.dtype, layer.weight.device
        self.lora_a = nn.Parameter(
            torch.empty(config.rank, layer.in_features, dtype=kind, device=device)
        )
        self.lora_b = nn.Parameter(
            torch.zeros(layer.out_features, config.rank, dtype=kind, device=device)
        )
        nn.init.kaiming_uniform_(self.lora_a, a=math.sqrt(5))

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
        """[*, in] to [*, out]."""
        low = functional.linear(functional.linear(input, self.lora_a), self.lora_b)
        return super().forward(input) + self.scale * low

    @torch.no_grad()
    def merged(self) -> Tensor:
        """W + scale * B A, which does the same without an adapter."""
        return self.weight + self.scale * (self.lora_b @ self.lora_a)


def add_adapters(model: nn.Module, config: LoRAConfig) -> int:
    """Put adapters beside the layers that a config names.

    Returns:
        How many there are.
    """
    chosen = [
        (name, module)
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and name.endswith(config.targets)
    ]
    for name, module in chosen:
        owner, _, leaf = name.rpartition(".")
        setattr(model.get_submodule(owner), leaf, LoRALinear(module, config))
    return len(chosen)
