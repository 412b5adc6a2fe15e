"""Vectors of texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tessera import errors
from tessera.inference.engine.bounds import Bounds
from tessera.inference.engine.loaded_model import LoadedModel
from tessera.inference.engine.pooling import PoolingInput
from tessera.inference.tasks.text_input import TextInput, read, tokenizer
from tessera.models.task import TaskConfig
from tessera.models.tasks import kind_of

ROLES = ("query", "document")
"""Prompts that every model has, though they may be empty, as in sentence-transformers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """What stands before every text; where nothing is said, what the model has by default.

    Args:
        name: of one of the model's prompts.
        text: itself; it may be empty.
    """

    name: str | None = None
    text: str | None = None

    def of(self, task: TaskConfig) -> str:
        """The text to put before others.

        Raises:
            InvalidArgumentError: UNKNOWN_PROMPT.
        """
        if self.text is not None:
            return self.text
        prompts = {**dict.fromkeys(ROLES, ""), **dict(task.prompts)}
        if self.name is None:
            return prompts.get(task.default_prompt, "")
        if self.name not in prompts:
            raise errors.InvalidArgumentError.at(
                "prompt_name",
                f"the model has no prompt `{self.name}`; it has {', '.join(prompts)}",
                "UNKNOWN_PROMPT",
            )
        return prompts[self.name]


class Embed:
    """Asks for the vectors of texts.

    Args:
        inputs: the texts.
        prompt: what stands before them.
    """

    method = "Embed"

    def __init__(self, inputs: Sequence[TextInput], prompt: Prompt = Prompt()) -> None:
        self._inputs = inputs
        self._prompt = prompt

    def prepare(self, model: LoadedModel, bounds: Bounds) -> list[PoolingInput]:
        """A text for each input."""
        task, context = model.config.task, bounds.reading(model)
        longest = min(context, task.longest or context)
        prompt = self._prompt.of(task)
        self._check_texts()
        read_inputs = [
            read(model, _after(prompt, given), f"inputs[{index}]", longest)
            for index, given in enumerate(self._inputs)
        ]
        left_out = 0 if task.include_prompt or not prompt else _length(model, prompt)
        return [
            PoolingInput(
                head=kind_of(task).head_names[0],
                tokens=each.tokens,
                segments=each.segments,
                unpooled=0 if given.tokens is not None else left_out,
            )
            for given, each in zip(self._inputs, read_inputs, strict=True)
        ]

    def finish(self, results: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        """[N, width], little-endian."""
        return np.stack(results).astype("<f4")

    def _check_texts(self) -> None:
        """Raise InvalidArgumentError PROMPT_BESIDE_TOKENS where a prompt cannot be put."""
        if self._prompt == Prompt():
            return
        for index, given in enumerate(self._inputs):
            if given.tokens is not None:
                raise errors.InvalidArgumentError.at(
                    f"inputs[{index}].tokens",
                    "tokens are taken as they are: put the prompt's before them, or send a text",
                    "PROMPT_BESIDE_TOKENS",
                )


def _after(prompt: str, given: TextInput) -> TextInput:
    """A text with a prompt before it; tokens are taken as they are."""
    return given if given.tokens is not None else replace(given, text=prompt + given.text)


def _length(model: LoadedModel, prompt: str) -> int:
    """Tokens that a prompt has before a text, counted as sentence-transformers does."""
    words = tokenizer(model, "inputs")
    tokens = model.frame.around(words.encode(prompt))
    return len(tokens) - int(bool(tokens) and tokens[-1] in words.special_ids)
