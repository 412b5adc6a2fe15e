"""BART and Marian: a decoder beside an encoder, over one embedding."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tessera.models import tasks
from tessera.models.config import ModelConfig, StackConfig
from tessera.models.huggingface import fields
from tessera.models.huggingface.architecture import Architecture
from tessera.models.huggingface.fields import ACTIVATIONS, Values
from tessera.models.huggingface.form import Form, Misfit, differ, plain_heads, same
from tessera.models.huggingface.generation import read_end, read_suppressed
from tessera.models.huggingface.names import StackNames
from tessera.models.huggingface.tensors import Entry, Plan
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

    def read(self, values: Values, generation: Values) -> ModelConfig:
        """The config of both stacks."""
        values = {**self.defaults, **values}
        fields.require(
            values,
            tie_word_embeddings=True,
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
            share_embeddings=True,
            head_bias=True,
            task=FAMILIES[self.family].task(self.kind),
            decoder_start_id=fields.read_start({**values, **generation}),
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
        yield from differ("model.tie_embeddings", config.tie_embeddings, True)
        yield from differ("model.share_embeddings", config.share_embeddings, True)

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
            "tie_word_embeddings": True,
            **fields.write_ids(config),
            "decoder_start_token_id": fields.or_none(config.first_id),
            "forced_eos_token_id": fields.or_none(config.end_id),
        }

    def plan(self, config: ModelConfig) -> Plan:
        """The tensors of both stacks, and the bias of the logits."""
        assert config.encoder is not None
        assert config.decoder is not None
        encoder = self._names("encoder", _ATTENTION).entries(
            "encoder", config.encoder, config.vocab_size
        )
        decoder = self._names("decoder", {**_ATTENTION, **_CROSS}).entries(
            "decoder", config.decoder, 0
        )
        bias = Entry(
            ours="heads.language.projection.bias",
            shape=(config.vocab_size,),
            theirs=("final_logits_bias",),
            framed=True,
        )
        return Plan(
            entries=(*encoder, *decoder, *([bias] if config.head_bias else [])),
            blanks={} if config.head_bias else {"final_logits_bias": (1, config.vocab_size)},
            ignored=(
                r"(encoder|decoder)\.embed_tokens\.weight",
                r"lm_head\.weight",
                r"(encoder|decoder)\.version",
                *self._tables(),
            ),
        )

    def _tables(self) -> tuple[str, ...]:
        """Sinusoids are computed, wherever they may be stored."""
        computed = self.form.fixed["positions"] == "sinusoidal"
        return (r"embed_positions\.weight",) if computed else ()

    def _read_stack(self, values: Values, side: str) -> StackConfig:
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

    def _names(self, side: str, layer: Mapping[str, tuple[str, ...]]) -> StackNames:
        prefix = f"model.{side}"
        return StackNames(
            tokens="model.shared.weight",
            positions=f"{prefix}.embed_positions.weight",
            embedding_norm=f"{prefix}.layernorm_embedding",
            layers=f"{prefix}.layers",
            layer=layer,
        )


_DEFAULTS: Values = {
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
