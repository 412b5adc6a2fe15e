"""The first weights, as the papers that the choices come from draw them."""

from __future__ import annotations

import math
from collections.abc import Iterable

from torch import nn

from tessera.models.stack import Stack

STD = 0.02
"""Standard deviation of weights in GPT and BERT."""


def initialize(model: nn.Module, stacks: Iterable[Stack]) -> None:
    """Draw every weight of a model.

    Normal 0.02, in pre-norm stacks smaller by depth where a layer feeds the residual stream
    (Radford et al., 2019). Stacks that scale their embeddings up (Vaswani et al., 2017) draw
    those smaller, and their layers after Glorot and Bengio (2010).
    """
    for module in model.modules():
        _plain(module)
    for stack in stacks:
        _by_stack(stack)


def _plain(module: nn.Module) -> None:
    if isinstance(module, nn.LayerNorm | nn.RMSNorm):
        module.reset_parameters()
    elif isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=STD)
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)


def _by_stack(stack: Stack) -> None:
    config = stack.config
    if config.embedding_scale:
        nn.init.normal_(stack.embeddings.tokens.weight, std=config.width**-0.5)
    for name, parameter in stack.blocks.named_parameters():
        if not name.endswith("weight") or "norm" in name:
            continue
        if config.embedding_scale:
            nn.init.xavier_uniform_(parameter)
        elif config.final_norm and name.endswith(("out.weight", "down.weight")):
            nn.init.normal_(parameter, std=STD / math.sqrt(2 * config.layers))
