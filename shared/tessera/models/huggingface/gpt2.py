"""GPT-2's classes: the decoder alone, or with the head of one task."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from tessera.models import tasks
from tessera.models.config import StackConfig
from tessera.models.huggingface import fields
from tessera.models.huggingface.causal import Causal
from tessera.models.huggingface.fields import ACTIVATIONS, Values
from tessera.models.huggingface.form import Form, Misfit, plain_heads
from tessera.models.huggingface.keys import known, neutral, training
from tessera.models.huggingface.names import StackNames
from tessera.models.huggingface.statement import Statement
from tessera.models.huggingface.tensors import Computed

DEFAULTS: Values = {
    "n_inner": None,
    "resid_pdrop": 0.1,
    "attn_pdrop": 0.1,
    "layer_norm_epsilon": 1e-5,
    "bos_token_id": 50256,
    "eos_token_id": 50256,
    "tie_word_embeddings": True,
}
FORM = Form(
    fixed={
        "norm": "layer",
        "norm_order": "pre",
        "positions": "learned",
        "position_offset": 0,
        "bias": True,
        "embedding_norm": False,
        "embedding_scale": False,
        "segments": 0,
    },
    activations=ACTIVATIONS,
)
_LAYER = {
    "attention_norm": ("ln_1",),
    "attention.qkv": ("attn.c_attn",),
    "attention.out": ("attn.c_proj",),
    "mlp_norm": ("ln_2",),
    "mlp.up": ("mlp.c_fc",),
    "mlp.down": ("mlp.c_proj",),
}
_CROSS = {
    "cross_norm": ("ln_cross_attn",),
    "cross.q": ("crossattention.q_attn",),
    "cross.kv": ("crossattention.c_attn",),
    "cross.out": ("crossattention.c_proj",),
}
BUFFERS: Mapping[str, Computed] = {
    r"(attn|crossattention)\.bias": Computed(lambda shape: np.tril(np.ones(shape[-2:]))),
    r"(attn|crossattention)\.masked_bias": Computed(None),
}


def names(prefix: str = "", *, cross: bool = False) -> StackNames:
    """What its tensors are called below a prefix, which ends with a dot."""
    return StackNames(
        tokens=f"{prefix}wte.weight",
        positions=f"{prefix}wpe.weight",
        layers=f"{prefix}h",
        layer={**_LAYER, **_CROSS} if cross else _LAYER,
        norm=f"{prefix}ln_f",
        transposed=True,
    )


def read_stack(values: Statement) -> StackConfig:
    """The decoder of a GPT2Config.

    Raises:
        InvalidArgumentError: IMPORT_UNSUPPORTED.
    """
    fields.require(values, scale_attn_weights=True, scale_attn_by_inverse_layer_idx=False)
    values.know(
        {
            **known(
                "of the second head of GPT2DoubleHeadsModel",
                "summary_type",
                "summary_use_proj",
                "summary_activation",
                "summary_proj_to_labels",
                "summary_first_dropout",
                "predict_special_tokens",
            ),
            **known("the same numbers in another order", "reorder_and_upcast_attn"),
            **known("it is one whatever is said", "is_decoder"),
            **neutral("n_positions says it", n_ctx=values["n_positions"]),
            **training(
                embd_pdrop=(values["resid_pdrop"],),
                classifier_dropout=(None, values["resid_pdrop"]),
                hidden_dropout=(None, values["resid_pdrop"]),
            ),
        }
    )
    return StackConfig(
        layers=values["n_layer"],
        heads=values["n_head"],
        width=values["n_embd"],
        ff_width=values["n_inner"] or 0,
        context=values["n_positions"],
        dropout=values["resid_pdrop"],
        attention_dropout=values["attn_pdrop"],
        norm_epsilon=values["layer_norm_epsilon"],
        activation=fields.activation(values, "activation_function", "gelu_new"),
        **FORM.fixed,
    )


def write_stack(stack: StackConfig, vocab_size: int) -> dict[str, Any]:
    """A GPT2Config."""
    return {
        "model_type": "gpt2",
        "vocab_size": vocab_size,
        "n_layer": stack.layers,
        "n_head": stack.heads,
        "n_embd": stack.width,
        "n_inner": stack.ff_width,
        "n_positions": stack.context,
        "resid_pdrop": stack.dropout,
        "embd_pdrop": stack.dropout,
        "attn_pdrop": stack.attention_dropout,
        "layer_norm_epsilon": stack.norm_epsilon,
        "activation_function": ACTIVATIONS[stack.activation],
    }


def stack_misfits(stack: StackConfig) -> Iterator[Misfit]:
    """Why a GPT2Model cannot hold a decoder."""
    yield from FORM.misfits("decoder", stack)
    yield from plain_heads("decoder", stack)


class GPT2(Causal):
    """One of GPT-2's classes."""

    model_type = "gpt2"
    base = "transformer"
    defaults = DEFAULTS
    kinds: Mapping[str, str] = {
        "GPT2LMHeadModel": tasks.LANGUAGE,
        "GPT2ForSequenceClassification": tasks.CLASSIFICATION,
        "GPT2ForTokenClassification": tasks.TOKENS,
        "GPT2Model": tasks.EMBEDDING,
    }
    token_head = "classifier"  # noqa: S105 - a name

    def buffers(self, stack: StackConfig) -> Mapping[str, Computed]:
        """The causal mask."""
        del stack
        return BUFFERS

    def read_stack(self, values: Statement) -> StackConfig:
        """The decoder of a GPT2Config without an encoder beside it."""
        fields.require(values, add_cross_attention=False)
        return read_stack(values)

    def write_stack(self, stack: StackConfig, vocab_size: int) -> dict[str, Any]:
        """A GPT2Config."""
        return write_stack(stack, vocab_size)

    def stack_misfits(self, stack: StackConfig) -> Iterator[Misfit]:
        """Why a GPT2Model cannot hold a decoder."""
        return stack_misfits(stack)

    def names(self, prefix: str) -> StackNames:
        """What its tensors are called."""
        return names(prefix)
