"""The model families that exist, by name. Importing it loads no torch."""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tessera import errors
from tessera.models.config import GPTConfig

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One family.

    Args:
        name: what specs call it.
        config: class of its sizes.
        build: makes a module from a config; imports torch.
        presets: named sizes, as keyword arguments of `config`.
    """

    name: str
    config: type[GPTConfig]
    build: Callable[[GPTConfig], torch.nn.Module]
    presets: Mapping[str, Mapping[str, int | float | bool]] = field(default_factory=dict)


def _build_gpt(config: GPTConfig) -> torch.nn.Module:
    from tessera.models.gpt import GPT  # noqa: PLC0415 - torch is loaded only to build

    return GPT(config)


_GPT_PRESETS: dict[str, dict[str, int | float | bool]] = {
    "tiny": {"layers": 2, "heads": 2, "width": 64, "context": 64},
    "mini": {"layers": 4, "heads": 4, "width": 128, "context": 128},
    "small": {"layers": 6, "heads": 6, "width": 384, "context": 256},
    "gpt2": {"layers": 12, "heads": 12, "width": 768, "context": 1024},
    "gpt2-medium": {"layers": 24, "heads": 16, "width": 1024, "context": 1024},
    "gpt2-large": {"layers": 36, "heads": 20, "width": 1280, "context": 1024},
    "gpt2-xl": {"layers": 48, "heads": 25, "width": 1600, "context": 1024},
}

FAMILIES: dict[str, Family] = {
    "gpt": Family(name="gpt", config=GPTConfig, build=_build_gpt, presets=_GPT_PRESETS),
}


def family(name: str) -> Family:
    """The family of that name.

    Raises:
        InvalidArgumentError: UNKNOWN_FAMILY.
    """
    if name in FAMILIES:
        return FAMILIES[name]
    near = difflib.get_close_matches(name, FAMILIES, n=1)
    hint = f"; did you mean `{near[0]}`?" if near else f"; there are: {', '.join(FAMILIES)}"
    description = f"there is no family `{name}`{hint}"
    raise errors.InvalidArgumentError(
        f"model.family: {description}",
        reason="UNKNOWN_FAMILY",
        violations=[errors.Violation("model.family", description)],
    )


def load_config(text: str | bytes) -> GPTConfig:
    """The config in a `config.json`, of whatever family it names."""
    try:
        name = json.loads(text).get("family", "")
    except (ValueError, AttributeError):
        raise errors.InvalidArgumentError(
            "config.json is not the config of a model", reason="INVALID_CONFIG"
        ) from None
    return family(name).config.from_json(text)
