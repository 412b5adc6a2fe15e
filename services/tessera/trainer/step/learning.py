"""Makes those weights of a module learn that a run's tuning lets learn."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from tessera.models.lora import LoRALinear
from tessera.models.lora_config import TARGETS, LoRAConfig
from tessera.trainer.failure import UserError
from tessera.trainer.tuning import Names, Tuning


def names_of(module: nn.Module) -> dict[nn.Parameter, Names]:
    """All names of every weight, in the order of the module."""
    found: dict[nn.Parameter, Names] = {}
    for name, parameter in module.named_parameters(remove_duplicate=False):
        found[parameter] = (*found.get(parameter, ()), name)
    return found


def freeze(module: nn.Module, tuning: Tuning) -> None:
    """Let only those weights learn that ever may; before the module is spread over the ranks.

    Raises:
        UserError: FREEZE_MATCHES_NOTHING, NOTHING_LEARNS, LORA_MATCHES_NOTHING, LORA_TIED.
    """
    names = names_of(module)
    if tuning.lora is not None:
        _check_adapters(module, tuning.lora, names, merge=tuning.merge)
    fixed = tuning.fixed(list(names.values()))
    for parameter, (first, *_) in names.items():
        parameter.requires_grad_(first not in fixed)


def frozen_at_start(module: nn.Module, tuning: Tuning) -> list[nn.Parameter]:
    """The weights that do not learn yet in the first steps."""
    names = names_of(module)
    chosen = tuning.frozen_at_start(list(names.values()))
    return [parameter for parameter, (first, *_) in names.items() if first in chosen]


@torch.no_grad()
def merge(module: nn.Module) -> None:
    """Put every adapter into the weights beside it; the adapters themselves stay as they are."""
    for layer in module.modules():
        if isinstance(layer, LoRALinear):
            layer.weight.copy_(_placed_like(layer.merged(), layer.weight))


def _placed_like(value: Tensor, other: Tensor) -> Tensor:
    if isinstance(value, DTensor) and isinstance(other, DTensor):
        return value.redistribute(placements=other.placements)
    return value


def _check_adapters(
    module: nn.Module, lora: LoRAConfig, names: dict[nn.Parameter, Names], *, merge: bool
) -> None:
    layers = {name: part for name, part in module.named_modules() if isinstance(part, nn.Linear)}
    adapted = any(isinstance(part, LoRALinear) for part in layers.values())
    for index, target in enumerate(lora.targets):
        found = [part for name, part in layers.items() if name.endswith(target)]
        # The default names layers of every family, and no family has all of them.
        if not found and not (adapted and target in TARGETS):
            description = f"no linear layer's name ends with `{target}`; there are " + ", ".join(
                dict.fromkeys(".".join(name.split(".")[-2:]) for name in layers)
            )
            raise UserError.at(f"tuning.lora.targets[{index}]", description, "LORA_MATCHES_NOTHING")
        if merge and any(len(names[part.get_parameter("weight")]) > 1 for part in found):
            description = (
                f"the weight of `{target}` is an embedding's too, so that an adapter cannot be "
                "merged into it; leave `tuning.lora.merge` out, or name other layers"
            )
            raise UserError.at(f"tuning.lora.targets[{index}]", description, "LORA_TIED")
