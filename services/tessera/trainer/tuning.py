"""Which weights learn. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tessera.models.lora_config import LoRAConfig
from tessera.trainer.failure import UserError

Names = tuple[str, ...]
"""All names of one weight; tied weights have several. The first one is the one it is kept under."""

_PARTS = {
    "encoder": "trunk.encoder.",
    "decoder": "trunk.decoder.",
    "trunk": "trunk.",
    "heads": "heads.",
}
_EMBEDDINGS = "embeddings"

ADAPTERS = (".lora_a", ".lora_b")
"""Ends of the names of an adapter's weights."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """Which weights learn, and from when on.

    Args:
        freeze: parts that do not learn: encoder, decoder, embeddings, trunk, heads, or the
            beginning of a parameter's name. A weight that two parts share is in both.
        freeze_steps: after so many steps they learn too; 0: never.
        lora: the adapters; None: there are none, and all that is not frozen learns.
        merge: whether the last version has the adapters in its weights. Those before it never do:
            they are what a killed run goes on from, and the sum of a weight and its adapter does
            not tell the two apart.
    """

    freeze: tuple[str, ...]
    freeze_steps: int
    lora: LoRAConfig | None
    merge: bool

    def fixed(self, weights: Sequence[Names]) -> frozenset[str]:
        """First names of the weights that never learn.

        Raises:
            UserError: FREEZE_MATCHES_NOTHING; NOTHING_LEARNS: no weight is left.
        """
        named = self._named(weights)
        base = {names[0] for names in weights if self.lora is not None and not _light(names)}
        if len(named | base) == len(weights):
            description = "no weight would learn; freeze less, for example only `encoder`"
            raise UserError.at("tuning.freeze", description, "NOTHING_LEARNS")
        return frozenset(base if self.freeze_steps else named | base)

    def frozen_at_start(self, weights: Sequence[Names]) -> frozenset[str]:
        """First names of the weights that learn only after `freeze_steps`."""
        return self._named(weights) - self.fixed(weights) if self.freeze_steps else frozenset()

    def _named(self, weights: Sequence[Names]) -> frozenset[str]:
        found: set[str] = set()
        for index, part in enumerate(self.freeze):
            chosen = {names[0] for names in weights if any(_is_in(part, name) for name in names)}
            if not chosen:
                description = (
                    f"no weight is in `{part}`; there are {', '.join(_known(weights))}, and "
                    f"beginnings of names such as `{weights[0][0]}`"
                )
                raise UserError.at(f"tuning.freeze[{index}]", description, "FREEZE_MATCHES_NOTHING")
            found |= chosen
        return frozenset(found)


def _is_in(part: str, name: str) -> bool:
    if part == _EMBEDDINGS:
        return f".{_EMBEDDINGS}." in name
    return name.startswith(_PARTS.get(part, part))


def _light(names: Names) -> bool:
    """Whether a weight learns beside frozen layers: an adapter's, or a head's own."""
    return names[0].endswith(ADAPTERS) or all(_is_in("heads", name) for name in names)


def _known(weights: Iterable[Names]) -> list[str]:
    names = [name for every in weights for name in every]
    return [part for part in (*_PARTS, _EMBEDDINGS) if any(_is_in(part, name) for name in names)]
