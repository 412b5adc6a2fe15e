"""What every architecture of transformers offers here: its config and its tensors, both ways."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

from tessera.models.config import ModelConfig
from tessera.models.huggingface.fields import Values
from tessera.models.huggingface.form import Misfit
from tessera.models.huggingface.tensors import Plan


class Architecture(ABC):
    """One class of transformers.

    Args:
        name: of the class.
    """

    family: str
    """Of ours that it belongs to."""

    base: str = ""
    """Name of its model below the heads."""

    def __init__(self, name: str) -> None:
        self.name = name

    @abstractmethod
    def read(self, values: Values, generation: Values) -> ModelConfig:
        """Our config.

        Args:
            values: of `config.json`.
            generation: what it says about writing, as `generation.read` finds it.

        Raises:
            InvalidArgumentError: IMPORT_UNSUPPORTED.
        """

    @abstractmethod
    def misfits(self, config: ModelConfig) -> Iterator[Misfit]:
        """Why it cannot hold a model; nothing where it can."""

    @abstractmethod
    def write(self, config: ModelConfig) -> dict[str, Any]:
        """The content of `config.json`, its architecture and element type aside."""

    @abstractmethod
    def plan(self, config: ModelConfig) -> Plan:
        """Its tensors beside those of a model that it can hold."""

    def notes(self, config: ModelConfig) -> Iterator[str]:
        """What an export does not carry, in a sentence each."""
        del config
        yield from ()
