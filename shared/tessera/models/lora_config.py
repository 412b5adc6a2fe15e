"""Low-rank adapters: which linear layers, and how wide. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

TARGETS = ("attention.qkv", "attention.out", "cross.q", "cross.kv", "cross.out")
"""Layers that get an adapter unless others are named: all of attention's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoRAConfig:
    """Adapters W x + (alpha / rank) B A x beside frozen layers (Hu et al., 2021).

    Args:
        rank: of the product B A.
        alpha: numerator of its scale.
        targets: ends of the names of the layers that get one.
    """

    rank: int = 8
    alpha: float = 16.0
    targets: tuple[str, ...] = TARGETS

    @property
    def scale(self) -> float:
        """Of the product."""
        return self.alpha / self.rank

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """What `asdict` made a dictionary of."""
        return cls(**{**values, "targets": tuple(values["targets"])})
