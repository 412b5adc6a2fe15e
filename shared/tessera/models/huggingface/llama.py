"""Llama's classes: the decoder alone, or with the head of one task."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from tessera.models import tasks
from tessera.models.config import ModelConfig, StackConfig
from tessera.models.huggingface import fields
from tessera.models.huggingface.causal import Causal
from tessera.models.huggingface.fields import Values
from tessera.models.huggingface.form import Form, Misfit
from tessera.models.huggingface.keys import known
from tessera.models.huggingface.names import StackNames
from tessera.models.huggingface.statement import Statement
from tessera.models.huggingface.tensors import Computed

DEFAULTS: Values = {
    "num_key_value_heads": None,
    "max_position_embeddings": 2048,
    "rms_norm_eps": 1e-6,
    "attention_dropout": 0.0,
    "attention_bias": False,
    "mlp_bias": False,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "tie_word_embeddings": False,
}
FORM = Form(
    fixed={
        "norm": "rms",
        "norm_order": "pre",
        "positions": "rotary",
        "embedding_norm": False,
        "embedding_scale": False,
        "segments": 0,
    },
    activations={"swiglu": "silu"},
)
_LAYER = {
    "attention_norm": ("input_layernorm",),
    "attention.qkv": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "attention.out": ("self_attn.o_proj",),
    "mlp_norm": ("post_attention_layernorm",),
    "mlp.up": ("mlp.up_proj",),
    "mlp.gate": ("mlp.gate_proj",),
    "mlp.down": ("mlp.down_proj",),
}


class Llama(Causal):
    """One of Llama's classes."""

    model_type = "llama"
    base = "model"
    defaults = DEFAULTS
    kinds: Mapping[str, str] = {
        "LlamaForCausalLM": tasks.LANGUAGE,
        "LlamaForSequenceClassification": tasks.CLASSIFICATION,
        "LlamaForTokenClassification": tasks.TOKENS,
        "LlamaModel": tasks.EMBEDDING,
    }
    token_head = "score"  # noqa: S105 - a name

    def buffers(self, stack: StackConfig) -> Mapping[str, Computed]:
        """The frequencies of rotary positions."""
        exponents = np.arange(0, stack.head_dim, 2) / stack.head_dim
        return {r"rotary_emb\.inv_freq": Computed(lambda _: stack.rotary_base**-exponents)}

    def read_stack(self, values: Statement) -> StackConfig:
        """The decoder of a LlamaConfig."""
        fields.require(values, add_cross_attention=False, partial_rotary_factor=1)
        if fields.activation(values, "hidden_act", "silu") != "silu":
            raise fields.unsupported("hidden_act", "only `silu` can be imported, also as `swish`")
        values.know(known("it is one whatever is said", "is_decoder"))
        width, heads = values["hidden_size"], values["num_attention_heads"]
        if values.get("head_dim") not in {None, width // heads}:
            raise fields.unsupported(
                "head_dim", f"only hidden_size / num_attention_heads = {width // heads}"
            )
        if values["attention_bias"] != values["mlp_bias"]:
            raise fields.unsupported(
                "attention_bias",
                "our linear layers all have a bias or none; it must equal mlp_bias",
            )
        return StackConfig(
            layers=values["num_hidden_layers"],
            heads=heads,
            kv_heads=values["num_key_value_heads"] or 0,
            width=width,
            ff_width=values["intermediate_size"],
            context=values["max_position_embeddings"],
            attention_dropout=values["attention_dropout"],
            norm_epsilon=values["rms_norm_eps"],
            rotary_base=_rotary_base(values),
            activation="swiglu",
            bias=values["attention_bias"],
            **FORM.fixed,
        )

    def write_stack(self, stack: StackConfig, vocab_size: int) -> dict[str, Any]:
        """A LlamaConfig, for transformers 4 and 5."""
        return {
            "model_type": "llama",
            "vocab_size": vocab_size,
            "num_hidden_layers": stack.layers,
            "num_attention_heads": stack.heads,
            "num_key_value_heads": stack.kv_heads,
            "head_dim": stack.head_dim,
            "hidden_size": stack.width,
            "intermediate_size": stack.ff_width,
            "max_position_embeddings": stack.context,
            "attention_dropout": stack.attention_dropout,
            "rms_norm_eps": stack.norm_epsilon,
            "rope_theta": stack.rotary_base,
            "rope_parameters": {"rope_type": "default", "rope_theta": stack.rotary_base},
            "hidden_act": "silu",
            "attention_bias": stack.bias,
            "mlp_bias": stack.bias,
        }

    def stack_misfits(self, stack: StackConfig) -> Iterator[Misfit]:
        """Why a LlamaModel cannot hold a decoder."""
        return FORM.misfits("decoder", stack)

    def names(self, prefix: str) -> StackNames:
        """What its tensors are called."""
        return StackNames(
            tokens=f"{prefix}embed_tokens.weight",
            layers=f"{prefix}layers",
            layer=_LAYER,
            norm=f"{prefix}norm",
        )

    def notes(self, config: ModelConfig) -> Iterator[str]:
        """What a LlamaConfig has no field for."""
        yield from super().notes(config)
        assert config.decoder is not None
        if config.decoder.dropout:
            yield "Llama has no dropout beside attention's: that of the residual stream is left out"


def _rotary_base(values: Statement) -> float:
    """From the fields of transformers 5 (`rope_parameters`) or 4 (`rope_theta`, `rope_scaling`)."""
    bases = [values.get("rope_theta")]
    for name in ("rope_scaling", "rope_parameters"):
        stated = values.get(name)
        if stated is None:
            continue
        kind = stated.get("rope_type", stated.get("type", "default"))
        if kind != "default" or stated.get("partial_rotary_factor", 1) not in {None, 1}:
            raise fields.unsupported(
                name, f"only plain rotary positions can be imported, not those of `{kind}`"
            )
        bases.append(stated.get("rope_theta"))
    return float(next((base for base in reversed(bases) if base is not None), 10000.0))
