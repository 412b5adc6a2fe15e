"""BERT's classes: the encoder alone, or with the head of one task."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import replace
from typing import Any

import numpy as np

from tessera.models import tasks
from tessera.models.config import ModelConfig, StackConfig
from tessera.models.huggingface import fields, sentence
from tessera.models.huggingface.architecture import Architecture
from tessera.models.huggingface.fields import ACTIVATIONS, Values
from tessera.models.huggingface.form import Form, Misfit, differ, plain_heads
from tessera.models.huggingface.generation import Generation
from tessera.models.huggingface.keys import CLASSES as NAMED
from tessera.models.huggingface.keys import known, training
from tessera.models.huggingface.names import StackNames, linear, norm
from tessera.models.huggingface.statement import Statement
from tessera.models.huggingface.tensors import Computed, Entry, TensorPlan
from tessera.models.registry import FAMILIES

DEFAULTS: Values = {
    "type_vocab_size": 2,
    "hidden_dropout_prob": 0.1,
    "attention_probs_dropout_prob": 0.1,
    "layer_norm_eps": 1e-12,
    "pad_token_id": 0,
    "tie_word_embeddings": True,
}
FORM = Form(
    fixed={
        "norm": "layer",
        "norm_order": "post",
        "positions": "learned",
        "position_offset": 0,
        "bias": True,
        "embedding_norm": True,
        "embedding_scale": False,
    },
    activations=ACTIVATIONS,
)

BASE = "BertModel"
MASKED = "BertForMaskedLM"
PRETRAINING = "BertForPreTraining"
CLASSES = "BertForSequenceClassification"
TOKENS = "BertForTokenClassification"
ANSWERS = "BertForQuestionAnswering"

_KINDS: Mapping[str, str] = {
    MASKED: tasks.MASKED,
    PRETRAINING: tasks.MASKED,
    BASE: tasks.EMBEDDING,
    CLASSES: tasks.CLASSIFICATION,
    TOKENS: tasks.TOKENS,
    ANSWERS: tasks.QUESTION_ANSWERING,
}
_LAYER = {
    "attention.qkv": ("attention.self.query", "attention.self.key", "attention.self.value"),
    "attention.out": ("attention.output.dense",),
    "attention_norm": ("attention.output.LayerNorm",),
    "mlp.up": ("intermediate.dense",),
    "mlp.down": ("output.dense",),
    "mlp_norm": ("output.LayerNorm",),
}
BUFFERS: Mapping[str, Computed] = {
    r"embeddings\.position_ids": Computed(lambda shape: np.arange(shape[-1])[None])
}
NEXT_SENTENCE = r"cls\.seq_relationship\.(weight|bias)"
POOLER = r"pooler\.dense\.(weight|bias)"
_WORDS, _MATRIX = "bert.embeddings.word_embeddings.weight", "cls.predictions.decoder.weight"
_BIAS, _USED_BIAS = "cls.predictions.bias", "cls.predictions.decoder.bias"


def names(prefix: str = "") -> StackNames:
    """What its tensors are called below a prefix, which ends with a dot."""
    return StackNames(
        tokens=f"{prefix}embeddings.word_embeddings.weight",
        positions=f"{prefix}embeddings.position_embeddings.weight",
        segments=f"{prefix}embeddings.token_type_embeddings.weight",
        embedding_norm=f"{prefix}embeddings.LayerNorm",
        layers=f"{prefix}encoder.layer",
        layer=_LAYER,
    )


def blank_pooler(width: int, prefix: str = "") -> dict[str, tuple[int, ...]]:
    """The layer that BertModel has whether it was trained or not."""
    return {f"{prefix}pooler.dense.weight": (width, width), f"{prefix}pooler.dense.bias": (width,)}


def read_stack(values: Statement) -> StackConfig:
    """The encoder of a BertConfig.

    Raises:
        InvalidArgumentError: IMPORT_UNSUPPORTED.
    """
    fields.require(
        values,
        position_embedding_type="absolute",
        is_decoder=False,
        is_encoder_decoder=False,
        add_cross_attention=False,
    )
    values.know(
        {
            **known(
                "of the original code; transformers does not read it",
                "directionality",
                "pooler_fc_size",
                "pooler_num_attention_heads",
                "pooler_num_fc_layers",
                "pooler_size_per_head",
                "pooler_type",
            ),
            **training(classifier_dropout=(None, values["hidden_dropout_prob"])),
        }
    )
    return StackConfig(
        layers=values["num_hidden_layers"],
        heads=values["num_attention_heads"],
        width=values["hidden_size"],
        ff_width=values["intermediate_size"],
        context=values["max_position_embeddings"],
        dropout=values["hidden_dropout_prob"],
        attention_dropout=values["attention_probs_dropout_prob"],
        norm_epsilon=values["layer_norm_eps"],
        activation=fields.activation(values, "hidden_act", "gelu"),
        segments=values["type_vocab_size"],
        **FORM.fixed,
    )


def write_stack(stack: StackConfig, vocab_size: int, pad_id: int) -> dict[str, Any]:
    """A BertConfig."""
    return {
        "model_type": "bert",
        "vocab_size": vocab_size,
        "num_hidden_layers": stack.layers,
        "num_attention_heads": stack.heads,
        "hidden_size": stack.width,
        "intermediate_size": stack.ff_width,
        "max_position_embeddings": stack.context,
        "hidden_dropout_prob": stack.dropout,
        "attention_probs_dropout_prob": stack.attention_dropout,
        "classifier_dropout": None,
        "layer_norm_eps": stack.norm_epsilon,
        "hidden_act": ACTIVATIONS[stack.activation],
        "type_vocab_size": stack.segments,
        "pad_token_id": fields.or_none(pad_id),
    }


def stack_misfits(stack: StackConfig) -> Iterator[Misfit]:
    """Why a BertModel cannot hold an encoder."""
    yield from FORM.misfits("encoder", stack)
    yield from plain_heads("encoder", stack)
    if not stack.segments:
        yield Misfit(field="model.encoder.segments", found=0, wanted="1 or more")


class Bert(Architecture):
    """One of BERT's classes."""

    family = "bert"
    model_type = "bert"
    base = "bert"

    def read(self, values: Statement, generation: Generation) -> ModelConfig:
        """The config of an encoder and the task of the class."""
        del generation
        values = values.over(DEFAULTS)
        choices: dict[str, Any] = {"kind": _KINDS[self.name]}
        if self.name in {CLASSES, TOKENS}:
            values.know(NAMED)
        if self.name == CLASSES:
            choices.update(fields.read_classes(values))
        elif self.name == TOKENS:
            choices["labels"] = fields.read_labels(values)
        return ModelConfig(
            family=self.family,
            vocab_size=values["vocab_size"],
            encoder=read_stack(values),
            tie_embeddings=values["tie_word_embeddings"],
            task=FAMILIES[self.family].task(**choices),
            pad_id=fields.first(values.get("pad_token_id")),
        )

    def misfits(self, config: ModelConfig) -> Iterator[Misfit]:
        """Other choices of the stack, or of the head."""
        assert config.encoder is not None
        yield from differ("task.kind", fields.written_kind(config.task), _KINDS[self.name])
        yield from stack_misfits(config.encoder)
        if self.name == CLASSES:
            yield from differ("task.pooling", config.task.pooling, "first")
            yield from differ("task.pooler", config.task.pooler, True)
            yield from differ("task.bias", config.task.bias, True)

    def write(self, config: ModelConfig) -> dict[str, Any]:
        """A BertConfig with the classes."""
        assert config.encoder is not None
        return {
            **write_stack(config.encoder, config.vocab_size, config.pad_id),
            "tie_word_embeddings": config.tie_embeddings,
            **fields.write_labels(config.task),
        }

    def plan(self, config: ModelConfig) -> TensorPlan:
        """The encoder's tensors and those of the head."""
        assert config.encoder is not None
        prefix = "" if self.name == BASE else "bert."
        stack = names(prefix).entries("encoder", config.encoder, config.vocab_size)
        entries = [*stack, *self._head(config)]
        masked = "masked" in tasks.kind_of(config.task).head_names
        tied = masked and config.tie_embeddings
        return TensorPlan(
            entries=tuple(entries),
            copies={_BIAS: _USED_BIAS} if masked and not tied else {},
            blanks=blank_pooler(config.width) if self.name == BASE else {},
            ties=(*(((_WORDS, _MATRIX),) if tied else ()), *(((_USED_BIAS, _BIAS),) * masked)),
            instead={_BIAS: _USED_BIAS},
            computed=BUFFERS,
            dropped=(NEXT_SENTENCE, POOLER),
        )

    def fit(self, config: ModelConfig, unlike: AbstractSet[str]) -> ModelConfig:
        """Untied where the matrix of the masked head is one of its own."""
        return replace(config, tie_embeddings=False) if _MATRIX in unlike else config

    def notes(self, config: ModelConfig) -> Iterator[str]:
        """What BertModel has beyond ours."""
        del config
        if self.name == BASE:
            yield "the pooler of BertModel is zeros: the embeddings do not use it"

    def _head(self, config: ModelConfig) -> Iterator[Entry]:
        assert config.encoder is not None
        width, outputs = config.width, (tasks.outputs(config.task), config.width)
        if self.name in {MASKED, PRETRAINING}:
            yield from masked_head(config, config.encoder)
        elif self.name == CLASSES:
            yield from linear("heads.classes.pooler", "bert.pooler.dense", (width, width))
            yield from linear("heads.classes.projection", "classifier", outputs)
        elif self.name == BASE:
            yield from sentence.entries(config)
        elif self.name == TOKENS:
            yield from linear("heads.tokens.projection", "classifier", outputs)
        elif self.name == ANSWERS:
            yield from linear("heads.span.projection", "qa_outputs", outputs)


def masked_head(config: ModelConfig, stack: StackConfig) -> Iterator[Entry]:
    """The tensors of the head that guesses hidden tokens."""
    ours, theirs = "heads.masked", "cls.predictions"
    words, width = config.vocab_size, config.width
    yield from linear(f"{ours}.dense", f"{theirs}.transform.dense", (width, width))
    yield from norm(f"{ours}.norm", f"{theirs}.transform.LayerNorm", stack)
    if config.tie_embeddings:
        bias = f"{ours}.projection.bias"
        yield Entry(ours=bias, shape=(words,), theirs=(f"{theirs}.bias",))
    else:
        yield from linear(f"{ours}.projection", f"{theirs}.decoder", (words, width))
