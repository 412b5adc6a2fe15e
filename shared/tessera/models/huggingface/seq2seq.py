"""BART and Marian: a decoder beside an encoder, over one embedding."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import replace
from typing import Any

import numpy as np

from tessera.models import tasks
from tessera.models.config import ModelConfig, StackConfig
from tessera.models.huggingface import fields
from tessera.models.huggingface.architecture import Architecture
from tessera.models.huggingface.fields import ACTIVATIONS, Values
from tessera.models.huggingface.form import Form, Misfit, differ, plain_heads, same
from tessera.models.huggingface.generation import Generation, read_end, read_suppressed
from tessera.models.huggingface.keys import known, neutral, training
from tessera.models.huggingface.names import StackNames, linear
from tessera.models.huggingface.statement import Statement
from tessera.models.huggingface.tensors import Array, Computed, Entry, TensorPlan
from tessera.models.registry import FAMILIES

_COMMON: Mapping[str, Any] = {
    "norm": "layer",
    "norm_order": "post",
    "norm_epsilon": 1e-5,
    "bias": True,
    "segments": 0,
}
_BART: Mapping[str, Any] = {
    **_COMMON,
    "positions": "learned",
    "position_offset": 2,
    "embedding_norm": True,
}
_MARIAN: Mapping[str, Any] = {**_COMMON, "positions": "sinusoidal", "embedding_norm": False}
_SHARED = ("width", "context", "dropout", "attention_dropout", "activation", "embedding_scale")
"""What has one field for both stacks."""

_OWN = {"layers": "layers", "heads": "attention_heads", "ff_width": "ffn_dim"}
"""What has a field for each."""

_SHARED_MATRIX = "model.shared.weight"
_READS, _WRITES = "model.encoder.embed_tokens.weight", "model.decoder.embed_tokens.weight"
_HEAD, _BIAS = "lm_head.weight", "final_logits_bias"
_ATTENTION = {
    "attention_norm": ("self_attn_layer_norm",),
    "attention.qkv": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "attention.out": ("self_attn.out_proj",),
    "mlp_norm": ("final_layer_norm",),
    "mlp.up": ("fc1",),
    "mlp.down": ("fc2",),
}
_CROSS = {
    "cross_norm": ("encoder_attn_layer_norm",),
    "cross.q": ("encoder_attn.q_proj",),
    "cross.kv": ("encoder_attn.k_proj", "encoder_attn.v_proj"),
    "cross.out": ("encoder_attn.out_proj",),
}


class Seq2Seq(Architecture):
    """BartForConditionalGeneration or MarianMTModel.

    Args:
        name: of the class.
        kind: our task of an imported one.
        form: of both of its stacks.
        model_type: what its config is called.
        defaults: of its config.
    """

    family = "transformer"
    base = "model"

    def __init__(
        self, name: str, *, kind: str, form: Form, model_type: str, defaults: Values
    ) -> None:
        super().__init__(name)
        self.kind = kind
        self.form = form
        self.model_type = model_type
        self.defaults = defaults

    def read(self, values: Statement, generation: Generation) -> ModelConfig:
        """The config of both stacks."""
        values = values.over(self.defaults)
        self._know(values)
        fields.require(
            values,
            is_encoder_decoder=True,
            is_decoder=False,
            share_encoder_decoder_embeddings=True,
            decoder_vocab_size=values["vocab_size"],
            normalize_before=False,
            add_final_layer_norm=False,
            normalize_embedding=self.form.fixed["embedding_norm"],
            static_position_embeddings=self.form.fixed["positions"] == "sinusoidal",
        )
        ids = {
            **fields.read_ids(values),
            "end_id": read_end(values["eos_token_id"], generation),
        }
        return ModelConfig(
            family=self.family,
            vocab_size=values["vocab_size"],
            encoder=self._read_stack(values, "encoder"),
            decoder=self._read_stack(values, "decoder"),
            tie_embeddings=values["tie_word_embeddings"],
            share_embeddings=values["tie_word_embeddings"],
            head_bias=True,
            task=FAMILIES[self.family].task(self.kind),
            decoder_start_id=fields.first(
                Generation(*generation.sources, values).get("decoder_start_token_id")
            ),
            suppress_ids=read_suppressed(generation, ids["end_id"], values["vocab_size"]),
            **ids,
        )

    def misfits(self, config: ModelConfig) -> Iterator[Misfit]:
        """Other choices of a stack, or embeddings of their own."""
        assert config.encoder is not None
        assert config.decoder is not None
        for side, stack in (("encoder", config.encoder), ("decoder", config.decoder)):
            yield from self.form.misfits(side, stack)
            yield from plain_heads(side, stack)
        yield from same(config, *_SHARED)
        yield from differ("model.decoder_vocab_size", config.decoder_vocab_size, 0)

    def write(self, config: ModelConfig) -> dict[str, Any]:
        """Its config."""
        assert config.encoder is not None
        assert config.decoder is not None
        sizes = {
            f"{side}_{theirs}": getattr(stack, ours)
            for side, stack in (("encoder", config.encoder), ("decoder", config.decoder))
            for ours, theirs in _OWN.items()
        }
        stack = config.encoder
        return {
            "model_type": self.model_type,
            "vocab_size": config.vocab_size,
            **sizes,
            "d_model": stack.width,
            "max_position_embeddings": stack.context,
            "dropout": stack.dropout,
            "attention_dropout": stack.attention_dropout,
            "activation_dropout": 0.0,
            "activation_function": ACTIVATIONS[stack.activation],
            "scale_embedding": stack.embedding_scale,
            "is_encoder_decoder": True,
            "tie_word_embeddings": config.tie_embeddings and config.share_embeddings,
            **fields.write_ids(config),
            "decoder_start_token_id": fields.or_none(config.first_id),
            "forced_eos_token_id": fields.or_none(config.end_id),
        }

    def plan(self, config: ModelConfig) -> TensorPlan:
        """The tensors of both stacks, and the bias of the logits."""
        assert config.encoder is not None
        assert config.decoder is not None
        whole = config.tie_embeddings and config.share_embeddings
        words = config.vocab_size
        encoder = self._names("encoder", _ATTENTION, _SHARED_MATRIX if whole else _READS).entries(
            "encoder", config.encoder, words
        )
        decoder = self._names("decoder", {**_ATTENTION, **_CROSS}, _WRITES).entries(
            "decoder", config.decoder, 0 if config.share_embeddings else words
        )
        projection = "heads.language.projection"
        head = linear(projection, "lm_head", (words, config.width), bias=False)
        bias = Entry(ours=f"{projection}.bias", shape=(words,), theirs=(_BIAS,), framed=True)
        return TensorPlan(
            entries=(
                *encoder,
                *decoder,
                *(() if config.tie_embeddings else head),
                *([bias] if config.head_bias else []),
            ),
            copies={} if whole else self._copies(config),
            blanks={} if config.head_bias else {_BIAS: (1, words)},
            ties=((_SHARED_MATRIX, _READS, _WRITES, _HEAD),),
            computed={
                r"(encoder|decoder)\.version": Computed(None),
                **self._tables(),
            },
        )

    def fit(self, config: ModelConfig, unlike: AbstractSet[str]) -> ModelConfig:
        """With the embeddings and the head that have matrices of their own; a bias, if stored."""
        return replace(
            config,
            share_embeddings=config.share_embeddings and not unlike & {_READS, _WRITES},
            tie_embeddings=config.tie_embeddings and not unlike & {_WRITES, _HEAD},
            head_bias=config.head_bias and _BIAS not in unlike,
        )

    @staticmethod
    def _copies(config: ModelConfig) -> dict[str, str]:
        """What transformers has a matrix for, although it is another one of ours."""
        decoder = _READS if config.share_embeddings else _WRITES
        return {
            _SHARED_MATRIX: _READS,
            **({_WRITES: _READS} if config.share_embeddings else {}),
            **({_HEAD: decoder} if config.tie_embeddings else {}),
        }

    def _tables(self) -> dict[str, Computed]:
        """Sinusoids are computed, wherever they may be stored."""
        computed = self.form.fixed["positions"] == "sinusoidal"
        return {r"embed_positions\.weight": Computed(_sinusoids, needed=True)} if computed else {}

    @staticmethod
    def _know(values: Statement) -> None:
        """What these configs say and ours need not follow."""
        layers, heads = values["encoder_layers"], values["encoder_attention_heads"]
        values.know(
            {
                **known(
                    "of other heads, or of the code that these models were trained with",
                    "classifier_dropout",
                    "classif_dropout",
                    "add_bias_logits",
                ),
                **neutral(
                    "encoder_layers and the like say it",
                    num_hidden_layers=layers,
                    num_attention_heads=heads,
                    hidden_size=values["d_model"],
                ),
                **training(activation_dropout=0, encoder_layerdrop=0, decoder_layerdrop=0),
            }
        )

    def _read_stack(self, values: Statement, side: str) -> StackConfig:
        sizes = {ours: values[f"{side}_{theirs}"] for ours, theirs in _OWN.items()}
        return StackConfig(
            **sizes,
            width=values["d_model"],
            context=values["max_position_embeddings"],
            dropout=values["dropout"],
            attention_dropout=values["attention_dropout"],
            activation=fields.activation(values, "activation_function", "gelu"),
            embedding_scale=values["scale_embedding"],
            **self.form.fixed,
        )

    @staticmethod
    def _names(side: str, layer: Mapping[str, tuple[str, ...]], tokens: str) -> StackNames:
        prefix = f"model.{side}"
        return StackNames(
            tokens=tokens,
            positions=f"{prefix}.embed_positions.weight",
            embedding_norm=f"{prefix}.layernorm_embedding",
            layers=f"{prefix}.layers",
            layer=layer,
        )


def _sinusoids(shape: tuple[int, ...]) -> Array:
    """Marian's table: the sines of all frequencies, then the cosines."""
    rows, width = shape
    angles = np.arange(rows)[:, None] / 10000 ** (np.arange(0, width, 2) / width)
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1)


_DEFAULTS: Values = {
    "tie_word_embeddings": True,
    "max_position_embeddings": 1024,
    "dropout": 0.1,
    "attention_dropout": 0.0,
    "scale_embedding": False,
}
BART = Seq2Seq(
    "BartForConditionalGeneration",
    kind=tasks.SUMMARIZATION,
    form=Form(fixed=_BART, activations=ACTIVATIONS),
    model_type="bart",
    defaults={
        **_DEFAULTS,
        "bos_token_id": 0,
        "pad_token_id": 1,
        "eos_token_id": 2,
        "decoder_start_token_id": 2,
    },
)
MARIAN = Seq2Seq(
    "MarianMTModel",
    kind=tasks.TRANSLATION,
    form=Form(fixed=_MARIAN, activations=ACTIVATIONS),
    model_type="marian",
    defaults={
        **_DEFAULTS,
        "pad_token_id": 58100,
        "eos_token_id": 0,
        "decoder_start_token_id": 58100,
    },
)
