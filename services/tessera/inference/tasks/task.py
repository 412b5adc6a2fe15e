"""The contract between the services, which know messages, and the engine, which knows tokens."""

from __future__ import annotations

import pkgutil
from collections.abc import Sequence
from typing import Any, Protocol

from tessera.inference.engine.bounds import Bounds
from tessera.inference.engine.loaded_model import LoadedModel
from tessera.inference.engine.pooling import PoolingInput
from tessera.inference.engine.sequence import Request
from tessera.models.config import ModelConfig


def answering(config: ModelConfig, asked: Task) -> Task:
    """The task as a model answers it, which may be in a way of its own kind."""
    own = config.task.row.answers.get(asked.method)
    if own is None:
        return asked
    task: Task = pkgutil.resolve_name(own)(asked)
    return task


class Task(Protocol):
    """One request for something that comes whole."""

    @property
    def method(self) -> str:
        """Of the API."""

    def prepare(self, model: LoadedModel, bounds: Bounds) -> list[Request | PoolingInput]:
        """What the engine runs; again if the model is replaced before it is let in.

        Raises:
            InvalidArgumentError: an input is wrong for this model; the field is named.
        """

    def finish(self, results: Sequence[Any]) -> Any:
        """The answer.

        Args:
            results: one for each of what was prepared.
        """
