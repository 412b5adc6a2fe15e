"""A version of a model in memory, ready to run."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from tessera.models.config import GPTConfig
from tessera.text.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LoadedModel:
    """One version.

    Args:
        set: `{tenant}/{name}`.
        version: its number.
        config: sizes.
        module: with its weights, in eval mode.
        tokenizer: None if the version brought none; it then takes and gives token ids only.
    """

    set: str
    version: int
    config: GPTConfig
    module: torch.nn.Module
    tokenizer: Tokenizer | None

    @property
    def end_id(self) -> int | None:
        """The token that ends a text."""
        return None if self.tokenizer is None else self.tokenizer.end_id

    @property
    def tensor(self) -> torch.Tensor:
        """Any parameter: for the element type and the device."""
        return next(self.module.parameters())
