"""Which methods of the API a model answers. Pure."""

from __future__ import annotations

from tessera import errors
from tessera.models.config import ModelConfig
from tessera.models.tasks import TASKS, kind_of


def methods(config: ModelConfig) -> tuple[str, ...]:
    """Names of the methods that a model answers."""
    return kind_of(config.task).methods


def check_served(config: ModelConfig, method: str) -> None:
    """Raise FailedPreconditionError METHOD_NOT_SERVED if a model does not answer a method."""
    able = methods(config)
    if method not in able:
        tasks = ", ".join(f"`{kind.name}`" for kind in TASKS.values() if method in kind.methods)
        raise errors.FailedPreconditionError.at(
            "model",
            f"it is a {config.family} for `{config.task.kind}` and answers {', '.join(able)};"
            f" {method} needs a model that was trained for {tasks}",
            "METHOD_NOT_SERVED",
            metadata={"task": config.task.kind, "methods": ",".join(able)},
        )
