"""Vectors of texts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tessera.inference.engine.bounds import Bounds
from tessera.inference.engine.loaded_model import LoadedModel
from tessera.inference.engine.pooling import PoolingInput
from tessera.inference.tasks.text_input import TextInput, read


class Embed:
    """Asks for the vectors of texts.

    Args:
        inputs: the texts.
    """

    method = "Embed"

    def __init__(self, inputs: Sequence[TextInput]) -> None:
        self._inputs = inputs

    def prepare(self, model: LoadedModel, bounds: Bounds) -> list[PoolingInput]:
        """A text for each input."""
        context = bounds.reading(model)
        longest = min(context, model.config.task.longest or context)
        inputs = [
            read(model, given, f"inputs[{index}]", longest)
            for index, given in enumerate(self._inputs)
        ]
        head = model.config.task.heads[0]
        return [PoolingInput(head=head, tokens=f.tokens, segments=f.segments) for f in inputs]

    def finish(self, results: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        """[N, width], little-endian."""
        return np.stack(results).astype("<f4")
