"""Which of our models an architecture can hold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tessera.models.config import ModelConfig, StackConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Misfit:
    """A choice that an architecture does not have: its field, what it is, and what it may be."""

    field: str
    found: Any
    wanted: Any

    def __str__(self) -> str:
        return f"{self.field} is {_plain(self.found)}, and it has only {_plain(self.wanted)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """What an architecture leaves no choice about in one of its stacks.

    Args:
        fixed: fields of a stack and the only value of each.
        activations: ours, and what the architecture calls them.
    """

    fixed: Mapping[str, Any] = field(default_factory=dict)
    activations: Mapping[str, str] = field(default_factory=dict)

    def misfits(self, side: str, stack: StackConfig) -> Iterator[Misfit]:
        """Where a stack has chosen otherwise."""
        for name, wanted in self.fixed.items():
            yield from differ(f"model.{side}.{name}", getattr(stack, name), wanted)
        if stack.activation not in self.activations:
            yield Misfit(
                field=f"model.{side}.activation",
                found=stack.activation,
                wanted=" or ".join(self.activations),
            )


def differ(name: str, found: Any, wanted: Any) -> Iterator[Misfit]:
    """A misfit, if the two are not equal."""
    if found != wanted:
        yield Misfit(field=name, found=found, wanted=wanted)


def same(config: ModelConfig, *names: str) -> Iterator[Misfit]:
    """Fields that encoder and decoder must agree on, and do not."""
    assert config.encoder is not None
    assert config.decoder is not None
    for name in names:
        yield from differ(
            f"model.decoder.{name}", getattr(config.decoder, name), getattr(config.encoder, name)
        )


def plain_heads(side: str, stack: StackConfig) -> Iterator[Misfit]:
    """Fewer heads of keys and values than heads, which most architectures do not have."""
    yield from differ(f"model.{side}.kv_heads", stack.kv_heads, stack.heads)


def _plain(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else f"`{value}`"
