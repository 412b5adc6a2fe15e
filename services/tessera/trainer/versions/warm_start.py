"""Takes first weights from committed versions: all that the models have in common."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from tessera.dtypes import fits
from tessera.models.buffers import persistent_buffers
from tessera.rpc.token import Token
from tessera.trainer.failure import UserError
from tessera.trainer.step.learning import names_of
from tessera.trainer.versions import layout
from tessera.trainer.versions.resume import fill
from tessera.trainer.versions.starting_point import InitVersion
from tessera.weights.manifest import TensorSpec

_OF_CLASSES = re.compile(r"heads\.[^.]+\.projection\.")
"""Weights with a row for each class, where a task has classes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What a warm start did: how many tensors came from each source, and which begin at random."""

    numbers: tuple[int, ...]
    fresh: tuple[str, ...]

    def describe(self, sources: Sequence[InitVersion]) -> str:
        """In one sentence."""
        taken = ", ".join(
            f"{number} tensors of {source}"
            for number, source in zip(self.numbers, sources, strict=True)
        )
        return f"took {taken}; {len(self.fresh) or 'none'} begin at random"


def take(
    module: nn.Module, sources: Sequence[InitVersion], labels: tuple[str, ...], token: Token
) -> Taken:
    """Fill every weight and buffer that a source has under one of its names and in its shape.

    Args:
        module: to fill.
        sources: to take from, the first one first.
        labels: classes that the module tells apart.
        token: for the bulk data.

    Raises:
        UserError: INIT_MISMATCH: a source has nothing of the kind.
    """
    places = {item.spec.name: item for item in layout.layout(module)}
    wanted: list[list[tuple[layout.LocalTensor, TensorSpec]]] = [[] for _ in sources]
    fresh = []
    buffers = [(name,) for name in persistent_buffers(module)]
    for names in (*names_of(module).values(), *buffers):
        item = places[names[0]]
        for source, pairs in zip(sources, wanted, strict=True):
            theirs = _found(source, names, item.spec, labels)
            if theirs is not None:
                pairs.append((item, theirs))
                break
        else:
            fresh.append(names[0])
    for source, pairs in zip(sources, wanted, strict=True):
        if not pairs:
            description = f"{source} has no tensor that this model could take"
            raise UserError.at(source.field, description, "INIT_MISMATCH")
        fill(source.manifest, pairs, token)
    return Taken(numbers=tuple(map(len, wanted)), fresh=tuple(fresh))


def _found(
    source: InitVersion, names: Sequence[str], ours: TensorSpec, labels: tuple[str, ...]
) -> TensorSpec | None:
    """A tied weight may have lain under any of its names; a row of a class is of that class."""
    theirs = source.tensors
    if _OF_CLASSES.match(names[0]) and source.config.task.labels != labels:
        return None
    for name in names:
        spec = theirs.get(name) if name.startswith(source.prefix) else None
        if spec is not None and spec.shape == ours.shape and fits(spec.dtype, ours.dtype):
            return spec
    return None
