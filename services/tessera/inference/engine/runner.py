"""Runs a step's sequences through their models: the one place where the engine meets tensors."""

from __future__ import annotations

from collections.abc import Sequence as Ordered
from dataclasses import dataclass

import torch
from torch import Tensor

from tessera.inference.engine.cache import PagedCache
from tessera.inference.engine.model import LoadedModel
from tessera.inference.engine.sampling import Sampled, generator, sample
from tessera.inference.engine.scheduler import Plan
from tessera.inference.engine.sequence import Sequence

_Layout = tuple[int, int, int, torch.dtype]


@dataclass(frozen=True, slots=True)
class _Slot:
    model: LoadedModel
    cache: PagedCache


class Runner:
    """Models by version, their caches, and the chance of every sequence.

    Versions of one shape share a cache: blocks of a sequence are its own whatever its version.

    Args:
        blocks: of the cache.
        block_size: tokens of a block.
        device: where the models are.
    """

    def __init__(self, blocks: int, block_size: int, device: torch.device) -> None:
        self._blocks = blocks
        self._block_size = block_size
        self._device = device
        self._slots: dict[int, _Slot] = {}
        self._generators: dict[int, torch.Generator] = {}

    @property
    def versions(self) -> set[int]:
        """Versions that can run."""
        return set(self._slots)

    def load(self, model: LoadedModel) -> None:
        """Make a version runnable."""
        cache = next((s.cache for s in self._slots.values() if _same(s.model, model)), None)
        slots = {**self._slots, model.version: _Slot(model, cache or self._new_cache(model))}
        self._slots = slots

    def unload(self, version: int) -> None:
        """Forget a version; its memory is free once nothing refers to it."""
        self._slots = {number: slot for number, slot in self._slots.items() if number != version}

    def forget(self, sequence: Sequence) -> None:
        """Drop what is kept for a sequence."""
        self._generators.pop(sequence.number, None)

    def run(self, plan: Plan) -> list[tuple[Sequence, Sampled]]:
        """One step: the next token of every sequence in the plan."""
        done: list[tuple[Sequence, Sampled]] = []
        with torch.inference_mode():
            for version in sorted({s.version for s in (*plan.prefill, *plan.decode)}):
                slot = self._slots[version]
                prefill = [s for s in plan.prefill if s.version == version]
                decode = [s for s in plan.decode if s.version == version]
                rows = [self._prefill(slot, sequence) for sequence in prefill]
                if decode:
                    rows.append(self._decode(slot, decode))
                sequences = [*prefill, *decode]
                done.extend(zip(sequences, self._sample(torch.cat(rows), sequences), strict=True))
        return done

    def _prefill(self, slot: _Slot, sequence: Sequence) -> Tensor:
        tokens = torch.tensor([sequence.tokens], device=self._device)
        logits: Tensor = slot.model.module(tokens, attend=slot.cache.prefill(sequence))
        return logits[:, -1]

    def _decode(self, slot: _Slot, sequences: Ordered[Sequence]) -> Tensor:
        tokens = torch.tensor([[s.tokens[-1]] for s in sequences], device=self._device)
        positions = torch.tensor([[len(s) - 1] for s in sequences], device=self._device)
        attend = slot.cache.decode(sequences)
        logits: Tensor = slot.model.module(tokens, positions, attend)
        return logits[:, -1]

    def _sample(self, logits: Tensor, sequences: Ordered[Sequence]) -> list[Sampled]:
        for sequence in sequences:
            if sequence.number not in self._generators:
                self._generators[sequence.number] = generator(sequence.sampling)
        generators = [self._generators[s.number] for s in sequences]
        return sample(logits, [s.sampling for s in sequences], generators)

    def _new_cache(self, model: LoadedModel) -> PagedCache:
        layers, heads, head_dim, dtype = _layout(model)
        return PagedCache(
            layers=layers,
            heads=heads,
            head_dim=head_dim,
            blocks=self._blocks,
            block_size=self._block_size,
            dtype=dtype,
            device=self._device,
        )


def _layout(model: LoadedModel) -> _Layout:
    config = model.config
    return config.layers, config.heads, config.head_dim, model.tensor.dtype


def _same(one: LoadedModel, other: LoadedModel) -> bool:
    return _layout(one) == _layout(other)
