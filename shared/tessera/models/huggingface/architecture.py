"""What every architecture of transformers offers here: its config and its tensors, both ways."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from typing import Any

from tessera.models.config import ModelConfig
from tessera.models.huggingface.form import Misfit
from tessera.models.huggingface.generation import Generation
from tessera.models.huggingface.statement import Statement
from tessera.models.huggingface.tensors import TensorPlan


class Architecture(ABC):
    """One class of transformers.

    Args:
        name: of the class.
    """

    family: str
    """Of ours that it belongs to."""

    model_type: str
    """What its config is called."""

    base: str = ""
    """Name of its model below the heads."""

    writer: str = ""
    """Key of its decoder's own config, where that has one."""

    def __init__(self, name: str) -> None:
        self.name = name

    @abstractmethod
    def read(self, values: Statement, generation: Generation) -> ModelConfig:
        """Our config; what it neither reads nor knows of the values is not followed.

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
    def plan(self, config: ModelConfig) -> TensorPlan:
        """Its tensors beside those of a model that it can hold."""

    def fit(self, config: ModelConfig, unlike: AbstractSet[str]) -> ModelConfig:
        """The config with what the weights decide.

        Args:
            config: as `read` made it.
            unlike: tensors of its plan that are not as it says: tied ones with numbers of their
                own, and those that are not there.
        """
        del unlike
        return config

    def notes(self, config: ModelConfig) -> Iterator[str]:
        """What an export does not carry, in a sentence each."""
        del config
        yield from ()
