"""The contract between the services, which know messages, and the engine, which knows tokens."""

from __future__ import annotations

import pkgutil
from collections.abc import Sequence
from typing import Protocol, TypeVar

from tessera.inference.engine.bounds import Bounds
from tessera.inference.engine.loaded_model import LoadedModel
from tessera.inference.engine.sequence import Work
from tessera.models.config import ModelConfig
from tessera.models.tasks import kind_of

R = TypeVar("R")
A_co = TypeVar("A_co", covariant=True)


class Task(Protocol[R, A_co]):
    """One request for something that comes whole: `R` for each of its works, `A_co` in all."""

    @property
    def method(self) -> str:
        """Of the API."""

    def prepare(self, model: LoadedModel, bounds: Bounds) -> Sequence[Work[R]]:
        """What the engine runs; again if the model is replaced before it is let in.

        Raises:
            InvalidArgumentError: an input is wrong for this model; the field is named.
        """

    def finish(self, results: Sequence[R]) -> A_co:
        """The answer.

        Args:
            results: one for each of what was prepared.
        """


def answering(config: ModelConfig, asked: Task[R, A_co]) -> Task[R, A_co]:
    """The task as a model answers it, which may be in a way of its own kind."""
    own = kind_of(config.task).answers.get(asked.method)
    if own is None:
        return asked
    task: Task[R, A_co] = pkgutil.resolve_name(own)(asked)
    return task
