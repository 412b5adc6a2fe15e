"""Every tensor of a checkpoint: where a plan finds it, or why it is left out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tessera import errors
from tessera.models import floats
from tessera.models.config import ModelConfig
from tessera.models.huggingface.architecture import Architecture
from tessera.models.huggingface.statement import plain
from tessera.models.huggingface.tensors import Computed, Tensor, TensorPlan, listed

_WRAPPERS = {"_orig_mod", "module", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}
"""What torch.compile, DataParallel and FSDP put into the names of a model that they wrap."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Located:
    """A checkpoint that holds a model.

    Args:
        config: of the model, with what the weights decide.
        plan: of its tensors.
        parts: those of the checkpoint, as the plan calls them.
        notes: what was left out, in a sentence each.
        base: name of the model below the heads.
    """

    config: ModelConfig
    plan: TensorPlan
    parts: Mapping[str, Tensor]
    notes: tuple[str, ...]
    base: str

    def find(self, name: str) -> str | None:
        """What the plan calls a part; None where there is none such."""
        return next((one for one in spellings(name, self.base) if one in self.parts), None)


def overlaid(
    stored: Mapping[str, Tensor], others: Mapping[str, Tensor], base: str
) -> dict[str, Tensor]:
    """The tensors of a checkpoint with others in their places, however both write their names."""
    there = _Names(stored, base)
    replaced = {there.find(name) for name in others}
    return {**{name: there[name] for name in there if name not in replaced}, **others}


def locate(
    architecture: Architecture, config: ModelConfig, stored: Mapping[str, Tensor]
) -> Located:
    """Find every tensor of a model, and account for every other one.

    Args:
        architecture: of the checkpoint.
        config: as its `config.json` has it.
        stored: its tensors.

    Raises:
        InvalidArgumentError: INVALID_CHECKPOINT: parts are missing, or there are others.
    """
    there = _Names(stored, architecture.base)
    before = architecture.plan(config)
    own = {name for group in before.ties for name in _own(there, group)}
    lacking = {name for name in _wanted(before) if there.resolve(name, before, own) is None}
    fitted = architecture.fit(config, own | lacking)
    plan = architecture.plan(fitted)
    actual = {name: there.resolve(name, plan, own) for name in _wanted(plan)}
    missing = [name for name, one in actual.items() if one is None]
    used = {one for one in actual.values() if one is not None}
    rest = sorted(set(there) - used)
    if missing:
        raise _lacking(missing, [name for name in rest if not _known(name, plan, before)])
    ties = (*before.ties, *plan.ties)
    kept = {alias for group in ties for alias in _repeated(there, group, own, used)}
    left = [name for name in rest if name not in kept]
    apart = own & {name for name, one in actual.items() if one == there.find(name)}
    untied = map(_untied, sorted(apart if config.tie_embeddings else ()))
    notes = (*untied, *_left_out(there, plan, before, config, left))
    parts = {name: there[one] for name, one in actual.items() if one is not None}
    return Located(config=fitted, plan=plan, parts=parts, notes=notes, base=architecture.base)


def unwrapped(name: str) -> str:
    """A tensor's name without what wrappers put into it."""
    return ".".join(part for part in name.split(".") if part not in _WRAPPERS)


class _Names(Mapping[str, Tensor]):
    """The tensors by names without wrappers, and how older or bare checkpoints write these."""

    def __init__(self, stored: Mapping[str, Tensor], base: str) -> None:
        self._base = base
        self._tensors: dict[str, Tensor] = {}
        for name, tensor in stored.items():
            bare = unwrapped(name)
            if bare in self._tensors:
                raise _invalid(f"`{plain(bare)}` stands there twice, once in a wrapper")
            self._tensors[bare] = tensor

    def __getitem__(self, name: str) -> Tensor:
        return self._tensors[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)

    def find(self, name: str) -> str | None:
        """What a tensor is called here; None where there is none."""
        return next((one for one in spellings(name, self._base) if one in self._tensors), None)

    def resolve(self, name: str, plan: TensorPlan, own: set[str]) -> str | None:
        """What holds the numbers of a tensor: itself, or one that it is tied to."""
        group = next((group for group in plan.ties if name in group), ())
        tied = [one for one in group if one not in own]
        order = [plan.instead.get(name, name), name, *(() if name in own else tied)]
        return next((one for one in map(self.find, order) if one is not None), None)

    def within(self, name: str, plan: TensorPlan) -> bool:
        """Whether a name stands in a module that the model computes with."""
        modules = {_top(one, self._base) for one in _wanted(plan)}
        return _top(name, self._base) in modules


def _wanted(plan: TensorPlan) -> list[str]:
    return [name for entry in plan.entries for name in entry.theirs]


def _own(there: _Names, group: tuple[str, ...]) -> Iterator[str]:
    """The names of a group whose tensors are not that of the first one."""
    stored = [(name, one) for name in group if (one := there.find(name)) is not None]
    for name, one in stored[1:]:
        if not _same(there[stored[0][1]], there[one]):
            yield name


def _repeated(
    there: _Names, group: tuple[str, ...], own: set[str], used: set[str]
) -> Iterator[str]:
    """What repeats a tensor of its group that the model has."""
    alike = [name for name in group if name not in own]
    stored = [one for name in alike if (one := there.find(name)) is not None]
    if used.intersection(stored):
        yield from stored


def _same(one: Tensor, other: Tensor) -> bool:
    if one.shape != other.shape:
        return False
    return floats.equal(one.read(), one.dtype, other.read(), other.dtype)


def _untied(name: str) -> str:
    return f"{name} is not tied, although config.json says so: it holds numbers of its own"


def _left_out(
    there: _Names, plan: TensorPlan, before: TensorPlan, config: ModelConfig, names: Iterable[str]
) -> Iterator[str]:
    """Why each of them is.

    Raises:
        InvalidArgumentError: INVALID_CHECKPOINT: the model would be another one with them.
    """
    tied = {there.find(name): group for group in before.ties for name in group}
    strange = []
    for name in names:
        said = f"{plain(name)} was left out"
        computed = _match(name, plan.computed)
        if computed is not None:
            yield from _computed(said, there[name], computed)
        elif name in tied:
            yield f"{said}: the model computes with another tensor in its place"
        elif _match(name, dict.fromkeys(plan.dropped, True)) or not there.within(name, plan):
            yield f"{said}: our {config.family} has no place for it"
        else:
            strange.append(name)
    if strange:
        raise _invalid(f"the architecture has no {listed(strange)}")


def _computed(said: str, tensor: Tensor, computed: Computed) -> Iterator[str]:
    """Nothing where a tensor holds what follows from the config, or what nobody reads."""
    if computed.values is None:
        return
    try:
        expected = computed.values(tensor.shape)
        matches = floats.near(tensor.read(), tensor.dtype, expected)
    except (ValueError, IndexError, TypeError):
        matches = False
    if matches:
        return
    other = "it holds other numbers than those that follow from config.json"
    if computed.needed:
        name = said.removesuffix(" was left out")
        raise _invalid(f"`{name}` cannot be imported: {other}, and ours are computed")
    yield f"{said}: {other}"


def _known(name: str, plan: TensorPlan, before: TensorPlan) -> bool:
    """Whether a tensor is known not to be one of the model's own."""
    tied = any(name in group for group in before.ties)
    dropped = dict.fromkeys((*plan.computed, *plan.dropped), True)
    return tied or _match(name, dropped) is not None


def spellings(name: str, base: str) -> Iterator[str]:
    """A name, and how older or bare checkpoints write it."""
    others = (name.removeprefix(f"{base}."), f"{base}.{name}") if base else ()
    for known in (name, *others):
        yield known
        if "LayerNorm" in known:
            yield known.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
                "LayerNorm.bias", "LayerNorm.beta"
            )


def _top(name: str, base: str) -> str:
    """The module below the base model, or beside it, that a tensor belongs to."""
    return name.removeprefix(f"{base}.").partition(".")[0]


def _match(name: str, patterns: Mapping[str, Any]) -> Any:
    """What the pattern of a name stands for."""
    for pattern, value in patterns.items():
        if re.search(rf"(^|\.){pattern}$", name):
            return value
    return None


def _lacking(missing: list[str], rest: list[str]) -> errors.InvalidArgumentError:
    others = f"; they have {listed([plain(name) for name in rest])} instead" if rest else ""
    return _invalid(f"the weights lack {listed(missing)}{others}")


def _invalid(description: str) -> errors.InvalidArgumentError:
    return errors.InvalidArgumentError(description, reason="INVALID_CHECKPOINT")
