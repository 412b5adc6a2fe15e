"""The model families that exist, by name. Importing it loads no torch."""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from typing import TYPE_CHECKING

from tessera import errors
from tessera.models import families
from tessera.models.config import ModelConfig
from tessera.models.family import FAMILIES, Family, register
from tessera.models.tasks import TASKS

if TYPE_CHECKING:
    from tessera.models.model import Model

__all__ = ["FAMILIES", "build", "family", "load_config", "register", "usual_family"]

for _file in pkgutil.iter_modules(families.__path__, f"{families.__name__}."):
    register(importlib.import_module(_file.name).FAMILY)


def family(name: str) -> Family:
    """The family of that name.

    Raises:
        InvalidArgumentError: UNKNOWN_FAMILY.
    """
    if name in FAMILIES:
        return FAMILIES[name]
    near = difflib.get_close_matches(name, FAMILIES, n=1)
    hint = f"; did you mean `{near[0]}`?" if near else f"; there are: {', '.join(FAMILIES)}"
    raise errors.InvalidArgumentError.at(
        "model.family", f"there is no family `{name}`{hint}", "UNKNOWN_FAMILY"
    )


def usual_family(kind: str) -> str:
    """The family that a kind of task is mostly given to, where nobody says.

    It is the one that does this by default, else the smallest that can: of few stacks, and of few
    other abilities.
    """
    able = [each for each in FAMILIES.values() if kind in each.tasks]

    def rank(each: Family) -> tuple[bool, int, int, str]:
        stacks = (each.encoder is not None) + (each.decoder is not None)
        return each.default_task != kind, stacks, len(each.offers), each.name

    return min(able, key=rank).name


def build(config: ModelConfig) -> Model:
    """A module with random weights; imports torch."""
    from tessera.models.model import Model  # noqa: PLC0415 - torch is loaded only to build

    return Model(config, family(config.family).run)


def load_config(text: str | bytes) -> ModelConfig:
    """The config in a `config.json`.

    Raises:
        InvalidArgumentError: INVALID_CONFIG, UNKNOWN_FAMILY.
    """
    config = ModelConfig.from_json(text)
    family(config.family)
    if config.task.kind not in TASKS:
        raise errors.InvalidArgumentError(
            f"config.json is of a task `{config.task.kind}`, which this build does not have",
            reason="INVALID_CONFIG",
        )
    return config
