"""What is known of a family of models: one row. Importing it loads no torch."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from tessera import errors
from tessera.models.config import ModelConfig, StackConfig
from tessera.models.head import CLASSES, SCORE
from tessera.models.sizes import STACK_SIZES, Sizes, Value
from tessera.models.task import TaskConfig
from tessera.models.tasks import SEES_ALL, TASKS
from tessera.text.special import SpecialTokens

if TYPE_CHECKING:
    from tessera.models.inputs import Inputs
    from tessera.models.states import States
    from tessera.models.trunk import Trunk


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One family.

    Args:
        name: what specs call it.
        run: runs its stacks, and says which states the heads see.
        offers: its abilities, of which `tessera.models.tasks` has the usual ones; it has the
            tasks that need no other.
        default_task: the kind of task that it is for unless told otherwise.
        special: special tokens of the vocabularies that it learns.
        tokenizer: kind of tokenizer that it learns unless told otherwise.
        starts: whether texts that it reads begin with the start token.
        encoder: how its encoder differs from the defaults of a stack; None: it has none.
        decoder: how its decoder does; None: it has none.
        share_embeddings: whether the two share their token embedding unless told otherwise.
        pooling: which state stands for a text unless told otherwise.
        pooler: whether its classes have a dense layer before them.
        bias: whether the projection to its classes has one.
        presets: named sizes, from those that train in a minute to those that need a cluster.
    """

    name: str
    run: Callable[[Trunk, Inputs], States]
    offers: frozenset[str]
    default_task: str
    special: SpecialTokens
    tokenizer: str = "byte_bpe"
    starts: bool = True
    encoder: Sizes | None = None
    decoder: Sizes | None = None
    share_embeddings: bool = False
    pooling: str = "first"
    pooler: bool = False
    bias: bool = True
    presets: Mapping[str, Sizes] = field(default_factory=dict)

    @property
    def tasks(self) -> tuple[str, ...]:
        """Kinds of tasks, the default first."""
        able = (kind.name for kind in TASKS.values() if kind.needs <= self.offers)
        return tuple(dict.fromkeys((self.default_task, *able)))

    @property
    def bare(self) -> bool:
        """Whether a tokenizer may state that nothing stands around its texts."""
        return not self.special.start

    @property
    def defaults(self) -> Sizes:
        """Values of `SIZES` that a spec may leave open and that are the same for every stack."""
        plain = StackConfig()
        values: dict[str, Value] = {
            name: getattr(plain, name) for name in ("layers", "heads", "width", "context")
        }
        dropouts = {"dropout": plain.dropout, "attention_dropout": plain.attention_dropout}
        return {**values, **dropouts, "ff_width": 0, "tie_embeddings": True}

    def task(self, kind: str = "", **choices: Any) -> TaskConfig:
        """A task with this family's choices where none are made.

        Raises:
            InvalidArgumentError: TASK_NOT_FOR_FAMILY.
        """
        self.check_task(kind or self.default_task)
        row = TASKS[kind or self.default_task]
        classes = not {CLASSES, SCORE}.isdisjoint(row.heads)
        chosen = {
            "kind": row.name,
            "pooling": row.pooling if row.pooling and SEES_ALL in self.offers else self.pooling,
            "pooler": self.pooler and classes,
            "bias": self.bias or not classes,
        }
        return TaskConfig(**{**chosen, **choices})

    def config(self, sizes: Sizes, task: TaskConfig | None = None, **rest: Any) -> ModelConfig:
        """The config of a model.

        Args:
            sizes: values of `SIZES`, those that are stated.
            task: what its heads do; default the family's first task.
            rest: other fields of `ModelConfig`, `vocab_size` among them.

        Raises:
            InvalidArgumentError: they do not go together.
        """
        stated = {name: sizes[name] for name in STACK_SIZES if name in sizes}
        encoder = decoder = None
        if self.encoder is not None:
            encoder = StackConfig(**{**self.encoder, **stated})  # type: ignore[arg-type]
        if self.decoder is not None:
            decoder = StackConfig(**{**self.decoder, **stated})  # type: ignore[arg-type]
            decoder = replace(decoder, layers=int(sizes.get("decoder_layers") or decoder.layers))
        shared = bool(sizes.get("share_embeddings", self.share_embeddings))
        return ModelConfig(
            family=self.name,
            encoder=encoder,
            decoder=decoder,
            tie_embeddings=bool(sizes.get("tie_embeddings", True)),
            share_embeddings=shared and encoder is not None and decoder is not None,
            task=task or self.task(),
            **rest,
        )

    def check_task(self, kind: str) -> None:
        """Raise InvalidArgumentError TASK_NOT_FOR_FAMILY if it cannot have a task."""
        if kind in self.tasks:
            return
        able = [other.name for other in FAMILIES.values() if kind in other.tasks]
        near = [] if able else difflib.get_close_matches(kind, TASKS, n=1)
        hint = f"; `{kind}` is a task of {', '.join(able)}" if able else ""
        hint += f"; did you mean `{near[0]}`?" if near else ""
        description = f"a {self.name} has no task `{kind}`; it has {', '.join(self.tasks)}{hint}"
        raise errors.InvalidArgumentError.at("task.kind", description, "TASK_NOT_FOR_FAMILY")


FAMILIES: dict[str, Family] = {}
"""Every family by its name: `FAMILY` of each file of `families`, and what `register` adds."""


def register(new: Family) -> None:
    """Make a family known; ValueError if there is one of that name."""
    if new.name in FAMILIES:
        raise ValueError(f"there is a family `{new.name}` already")
    FAMILIES[new.name] = new
