"""Runs a step through its models: the one place where the engine meets tensors."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Sequence as Ordered
from dataclasses import dataclass

import torch
from torch import Tensor

from tessera.inference.engine import pooling_runner
from tessera.inference.engine.batch import Batch, fill_up
from tessera.inference.engine.kv_cache import PagedCache
from tessera.inference.engine.loaded_model import LoadedModel
from tessera.inference.engine.packing import pack
from tessera.inference.engine.plan import Item, Plan
from tessera.inference.engine.pooling import HeadOutput
from tessera.inference.engine.sampler import Choice, Sampler
from tessera.inference.engine.sequence import Branch, Sequence
from tessera.inference.engine.weighing import Weighing
from tessera.models.attention import AttendMemory
from tessera.models.tasks import kind_of

StepOutput = Choice | HeadOutput | Weighing
"""What a step brings an item; a `Weighing` where it needs another one."""


@dataclass(frozen=True, slots=True)
class _Slot:
    """A version and its caches: of what its decoder writes, and of what its encoder has read."""

    model: LoadedModel
    self_cache: PagedCache | None
    cross_cache: PagedCache | None


@dataclass(frozen=True, slots=True)
class _Row:
    sequence: Sequence
    branch: Branch


class ModelRunner:
    """Models by version, their caches, the chance of every sequence, and texts read in part.

    Versions of one shape share caches: blocks of a sequence are its own whatever its version.

    Args:
        blocks: of a cache.
        block_size: tokens of a block.
        device: where the models are.
    """

    def __init__(self, blocks: int, block_size: int, device: torch.device) -> None:
        self._blocks = blocks
        self._block_size = block_size
        self._device = device
        self._slots: dict[int, _Slot] = {}
        self._sampler = Sampler()
        self._weighings: dict[int, Weighing] = {}

    @property
    def versions(self) -> set[int]:
        """Versions that can run."""
        return set(self._slots)

    def load(self, model: LoadedModel) -> None:
        """Make a version runnable."""
        slot = next((s for s in self._slots.values() if _layout(s.model) == _layout(model)), None)
        if slot is not None:
            new = _Slot(model, slot.self_cache, slot.cross_cache)
        else:
            writes = kind_of(model.config.task).writes
            crosses = writes and model.config.encoder is not None
            new = _Slot(
                model,
                self._new_cache(model) if writes else None,
                self._new_cache(model) if crosses else None,
            )
        self._slots = {**self._slots, model.version: new}

    def retire(self, needed: set[int]) -> bool:
        """Forget versions that are not needed any more.

        Returns:
            Whether there were any; their memory is free once nothing refers to it.
        """
        kept = {number: slot for number, slot in self._slots.items() if number in needed}
        gone = len(kept) < len(self._slots)
        self._slots = kept
        return gone

    def forget(self, items: Iterable[Item]) -> None:
        """Drop what is kept for items."""
        for item in items:
            self._sampler.forget(item.number)
            self._weighings.pop(item.number, None)

    def run(self, plan: Plan) -> list[tuple[Item, StepOutput]]:
        """One step.

        Returns:
            What every item of the plan gets: the next token, candidates of a beam search, what a
            head says, or what is known of it so far.
        """
        done: list[tuple[Item, StepOutput]] = []
        with torch.inference_mode():
            for version in sorted({item.version for item in plan.items}):
                slot, part = self._slots[version], plan.of(version)
                done.extend(self._read(slot, part))
                done.extend(self._write(slot, part))
        return done

    def _read(self, slot: _Slot, plan: Plan) -> list[tuple[Item, StepOutput]]:
        texts = [self._weighings.pop(item.number, item.text) for item in plan.read]
        said = pooling_runner.read(slot.model.module, texts, self._device, plan.places)
        pairs: list[tuple[Item, StepOutput]] = list(zip(plan.read, said, strict=True))
        self._weighings.update({i.number: it for i, it in pairs if isinstance(it, Weighing)})
        return pairs

    def _write(self, slot: _Slot, plan: Plan) -> list[tuple[Item, Choice]]:
        sequences = [*plan.prefill, *plan.decode]
        if not sequences:
            return []
        assert slot.self_cache is not None
        if plan.copies:
            slot.self_cache.copy([(old, new) for _, old, new in plan.copies])
        self._encode(slot, plan.encode)
        hidden = [
            *self._prefill(slot, _rows(plan.prefill)),
            *self._decode(slot, _rows(plan.decode)),
        ]
        logits = slot.model.module.heads["language"](torch.cat(hidden))
        return self._sampler.choose(logits, sequences, slot.model.config.suppress_ids)

    def _encode(self, slot: _Slot, sequences: Ordered[Sequence]) -> None:
        """Read the sources of sequences and keep what their decoder needs of them."""
        trunk = slot.model.module.trunk
        for group in pack([len(sequence.source) for sequence in sequences]):
            chosen = [sequences[index] for index in group]
            batch = Batch([sequence.source for sequence in chosen], self._device)
            segments = None
            told = slot.model.config.segmented
            if told and any(sequence.segments for sequence in chosen):
                kinds = [s.segments or (0,) * len(s.source) for s in chosen]
                segments = fill_up(kinds, self._device)
            assert trunk.encoder is not None
            assert trunk.decoder is not None
            states = trunk.encoder(batch.tokens, batch.mask, segments, batch.index)
            assert slot.cross_cache is not None
            slot.cross_cache.remember(_memory(chosen), trunk.decoder.remember(batch.real(states)))

    def _prefill(self, slot: _Slot, rows: Ordered[_Row]) -> list[Tensor]:
        """Hidden states [1, width] of the last token of every row, computed from the first on."""
        found: dict[int, Tensor] = {}
        decoder = slot.model.module.trunk.decoder
        assert decoder is not None
        assert slot.self_cache is not None
        for group in pack([len(row.branch) for row in rows]):
            chosen = [rows[index] for index in group]
            branches = [row.branch for row in chosen]
            batch = Batch([branch.tokens for branch in branches], self._device)
            hidden = decoder(
                batch.tokens,
                attend=slot.self_cache.prefill(branches, batch),
                attend_memory=_recall(slot, chosen),
            )
            found.update(zip(group, torch.split(batch.last(hidden), 1), strict=True))
        return [found[index] for index in range(len(rows))]

    def _decode(self, slot: _Slot, rows: Ordered[_Row]) -> list[Tensor]:
        """Hidden states [rows, width] of the last token of every row, from what the cache keeps."""
        if not rows:
            return []
        branches = [row.branch for row in rows]
        decoder = slot.model.module.trunk.decoder
        assert decoder is not None
        assert slot.self_cache is not None
        hidden = decoder(
            torch.tensor([[branch.tokens[-1]] for branch in branches], device=self._device),
            torch.tensor([[len(branch) - 1] for branch in branches], device=self._device),
            attend=slot.self_cache.decode(branches),
            attend_memory=_recall(slot, rows),
        )
        return [hidden[:, -1]]

    def _new_cache(self, model: LoadedModel) -> PagedCache:
        assert model.config.decoder is not None
        return PagedCache(
            model.config.decoder,
            blocks=self._blocks,
            block_size=self._block_size,
            dtype=model.tensor.dtype,
            device=self._device,
        )


def _rows(sequences: Ordered[Sequence]) -> list[_Row]:
    return [_Row(sequence, branch) for sequence in sequences for branch in sequence.branches]


def _memory(sequences: Iterable[Sequence]) -> list[tuple[list[int], int]]:
    return [(sequence.cross_blocks, len(sequence.source)) for sequence in sequences]


def _recall(slot: _Slot, rows: Ordered[_Row]) -> AttendMemory | None:
    if slot.cross_cache is None:
        return None
    return slot.cross_cache.recall(_memory(row.sequence for row in rows))


def _layout(model: LoadedModel) -> tuple[object, ...]:
    """What decides the shape of caches."""
    config, stack = model.config, model.config.decoder
    if stack is None or not kind_of(config.task).writes:
        return ()
    crosses = config.encoder is not None
    return (crosses, stack.layers, stack.kv_heads, stack.head_dim, model.tensor.dtype)
