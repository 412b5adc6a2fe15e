"""The model families that exist, by name. Importing it loads no torch."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from tessera import errors
from tessera.models.config import ModelConfig, StackConfig
from tessera.models.presets import PRESETS
from tessera.models.task import TASKS, TaskConfig, check_task

if TYPE_CHECKING:
    from tessera.models.model import Model

Value = int | float | bool | str
Sizes = Mapping[str, Value]

ENCODER: Sizes = {
    "norm_order": "post",
    "activation": "gelu",
    "norm_epsilon": 1e-12,
    "embedding_norm": True,
    "segments": 2,
}
"""How BERT differs from the defaults of a stack, which are GPT-2's."""

CLASSIC: Sizes = {"norm_order": "post", "positions": "sinusoidal", "activation": "relu",
           "embedding_scale": True}  # fmt: skip
"""How the first Transformer does."""

STACK_SIZES = (
    "layers",
    "heads",
    "kv_heads",
    "width",
    "ff_width",
    "context",
    "dropout",
    "attention_dropout",
    "norm",
    "norm_order",
    "norm_epsilon",
    "positions",
    "rotary_base",
    "activation",
    "bias",
)
"""What a spec may say of the stacks; it holds for both where there are two."""

SIZES = (*STACK_SIZES, "decoder_layers", "tie_embeddings", "share_embeddings")
"""What a spec may say of a model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One family.

    Args:
        name: what specs call it.
        encoder: how its encoder differs from the defaults of a stack; None: it has none.
        decoder: how its decoder does; None: it has none.
        share_embeddings: whether the two share their token embedding unless told otherwise.
        pooling: which state stands for a text unless told otherwise.
        pooler: whether its classes have a dense layer before them.
        bias: whether the projection to its classes has one.
    """

    name: str
    encoder: Sizes | None = None
    decoder: Sizes | None = None
    share_embeddings: bool = False
    pooling: str = "first"
    pooler: bool = False
    bias: bool = True

    @property
    def presets(self) -> Mapping[str, Sizes]:
        """Named sizes."""
        return PRESETS[self.name]

    @property
    def tasks(self) -> tuple[str, ...]:
        """Kinds of tasks, the default first."""
        return TASKS[self.name]

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
        kind = kind or self.tasks[0]
        check_task(self.name, kind)
        pooling = "mean" if kind == "sentence_embedding" and self.encoder else self.pooling
        classes = kind in {"classification", "sentiment"}
        chosen = {
            "kind": kind,
            "pooling": pooling,
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


FAMILIES: dict[str, Family] = {
    "transformer": Family(
        name="transformer", encoder=CLASSIC, decoder=CLASSIC, share_embeddings=True
    ),
    "bert": Family(name="bert", encoder=ENCODER, pooler=True),
    "gpt": Family(name="gpt", decoder={}, pooling="last", bias=False),
    "bert_gpt": Family(name="bert_gpt", encoder=ENCODER, decoder={}, pooler=True),
}


def family(name: str) -> Family:
    """The family of that name.

    Raises:
        InvalidArgumentError: UNKNOWN_FAMILY.
    """
    if name in FAMILIES:
        return FAMILIES[name]
    near = difflib.get_close_matches(name, FAMILIES, n=1)
    hint = f"; did you mean `{near[0]}`?" if near else f"; there are: {', '.join(FAMILIES)}"
    raise errors.InvalidArgumentError.at(
        "model.family", f"there is no family `{name}`{hint}", "UNKNOWN_FAMILY"
    )


def build(config: ModelConfig) -> Model:
    """A module with random weights; imports torch."""
    from tessera.models.model import Model  # noqa: PLC0415 - torch is loaded only to build

    return Model(config)


def load_config(text: str | bytes) -> ModelConfig:
    """The config in a `config.json`.

    Raises:
        InvalidArgumentError: INVALID_CONFIG, UNKNOWN_FAMILY.
    """
    config = ModelConfig.from_json(text)
    family(config.family)
    return config
