"""Which methods of the API a model answers. Pure."""

from __future__ import annotations

from tessera import errors
from tessera.models import task
from tessera.models.config import ModelConfig

_OF_HEADS = {
    "masked": ("FillMask",),
    "classes": ("Classify",),
    "tokens": ("Classify",),
    "span": ("Answer",),
    "vectors": ("Embed",),
}
_TASKS = {
    "Generate": (task.LANGUAGE, task.TRANSLATION, task.SUMMARIZATION, task.JOINT),
    "Translate": (task.TRANSLATION, task.SUMMARIZATION, task.JOINT),
    "Score": (task.LANGUAGE, task.TRANSLATION, task.SUMMARIZATION, task.JOINT),
    "FillMask": (task.MASKED, task.JOINT),
    "Classify": (task.CLASSIFICATION, task.SENTIMENT, task.TOKENS),
    "Answer": (task.QUESTION_ANSWERING,),
    "Embed": (task.EMBEDDING,),
}


def methods(config: ModelConfig) -> tuple[str, ...]:
    """Names of the methods that a model answers."""
    found: list[str] = []
    for head in config.task.heads:
        if head == "language":
            translates = ("Translate",) if config.encoder is not None else ()
            found.extend(("Generate", *translates, "Score"))
        else:
            found.extend(_OF_HEADS[head])
    return tuple(found)


def check_served(config: ModelConfig, method: str) -> None:
    """Raise FailedPreconditionError METHOD_NOT_SERVED if a model does not answer a method."""
    able = methods(config)
    if method not in able:
        tasks = ", ".join(f"`{kind}`" for kind in _TASKS[method])
        raise errors.FailedPreconditionError.at(
            "model",
            f"it is a {config.family} for `{config.task.kind}` and answers {', '.join(able)};"
            f" {method} needs a model that was trained for {tasks}",
            "METHOD_NOT_SERVED",
            metadata={"task": config.task.kind, "methods": ",".join(able)},
        )
