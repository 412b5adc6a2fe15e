"""A trunk and its heads: what is trained, committed and served."""

from __future__ import annotations

import pkgutil
from collections.abc import Callable

from torch import Tensor, nn

from tessera.models.config import ModelConfig
from tessera.models.head import Head, Per
from tessera.models.initial import initialize
from tessera.models.inputs import Inputs, Outputs
from tessera.models.lora import add_adapters
from tessera.models.states import States
from tessera.models.tasks import kind_of
from tessera.models.trunk import Trunk


class Model(nn.Module):
    """A model of any family for any of its tasks.

    Args:
        config: sizes, choices and task.
        run: how its family runs the stacks.
    """

    def __init__(self, config: ModelConfig, run: Callable[[Trunk, Inputs], States]) -> None:
        super().__init__()
        self.config = config
        self.trunk = Trunk(config, run)
        rows = kind_of(config.task).heads
        self.heads = nn.ModuleDict(
            {row.name: pkgutil.resolve_name(row.module)(config, self.trunk) for row in rows}
        )
        initialize(self, self.trunk.stacks)
        if config.lora is not None:
            add_adapters(self, config.lora)

    def forward(self, inputs: Inputs) -> Outputs:
        """What the heads say of a batch; one without states says nothing."""
        states = self._states(inputs)
        said = {}
        for row in kind_of(self.config.task).heads:
            hidden = states.written if row.writes else states.read
            if hidden is not None:
                said[row.output] = self._said(row, hidden, inputs)
        return Outputs(**said)

    def at_places(self, row: Head, inputs: Inputs) -> Tensor:
        """[K, width] states that a head of places is called with, in parts if it says much."""
        states = self._states(inputs)
        hidden = states.written if row.writes else states.read
        assert hidden is not None
        return _picked(row, hidden, inputs)

    def _states(self, inputs: Inputs) -> States:
        if not self.config.segmented:
            inputs = inputs._replace(segments=None)
        return self.trunk(inputs)  # type: ignore[no-any-return]

    def _said(self, row: Head, hidden: Tensor, inputs: Inputs) -> Tensor:
        head = self.heads[row.name]
        if row.per is Per.TEXT:
            counted = inputs.mask if inputs.pooled is None else inputs.pooled
            return head(hidden, counted)  # type: ignore[no-any-return]
        if row.per is Per.PLACE:
            hidden = _picked(row, hidden, inputs)
        return head(hidden)  # type: ignore[no-any-return]


def _picked(row: Head, hidden: Tensor, inputs: Inputs) -> Tensor:
    """The states that are asked for: a vocabulary is wide, and most places are not."""
    places = inputs.at if row.writes else inputs.masked_at
    return hidden if places is None else hidden.flatten(0, 1)[places]
