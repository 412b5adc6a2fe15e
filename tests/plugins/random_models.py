"""Small models of every architecture that can be imported, with all that is followed drawn."""

from __future__ import annotations

import transformers as hf
from hypothesis import strategies as st

from tessera.models.huggingface.catalog import ARCHITECTURES

NAMES = tuple(ARCHITECTURES)
"""Of the classes."""

CONTEXT = 48
"""Tokens that a model can read at least."""

ACTIVATIONS = ("gelu", "gelu_new", "gelu_pytorch_tanh", "relu", "silu", "swish")
_DROPOUT = st.sampled_from([0.0, 0.25])
_WIDTH = st.sampled_from([2, 4, 8])
_LABELS = st.text(min_size=1, max_size=4)


@st.composite
def configs(draw, name, words, ids, target=0):
    """The config of a class.

    Args:
        draw: of hypothesis.
        name: of the class.
        words: size of the vocabulary.
        ids: special tokens that the config names.
        target: size of the decoder's vocabulary where it has one of its own.
    """
    if name == "EncoderDecoderModel":
        return draw(_pairs(words, ids, target or words))
    common = {"vocab_size": words, **ids, **draw(_classes(name))}
    return draw(_OF[next(start for start in _OF if name.startswith(start))](**common))


@st.composite
def _classes(draw, name):
    """Names of classes, where the class has any."""
    if "Classification" not in name:
        return {}
    texts = "Sequence" in name
    labels = draw(st.lists(_LABELS, min_size=1 if texts else 2, max_size=4, unique=True))
    found = {
        "id2label": dict(enumerate(labels)),
        "label2id": {label: number for number, label in enumerate(labels)},
    }
    kinds = ["single_label_classification", "multi_label_classification"]
    if texts and draw(st.booleans()):
        found["problem_type"] = draw(
            st.sampled_from(kinds if len(labels) > 1 else ["regression", kinds[1]])
        )
    return found


@st.composite
def _bert(draw, **fixed):
    heads, dropout = draw(st.sampled_from([1, 2, 4])), draw(_DROPOUT)
    return hf.BertConfig(
        **{
            "hidden_size": heads * draw(_WIDTH),
            "num_hidden_layers": draw(st.integers(1, 3)),
            "num_attention_heads": heads,
            "intermediate_size": draw(st.integers(1, 40)),
            "max_position_embeddings": draw(st.integers(CONTEXT, CONTEXT + 9)),
            "type_vocab_size": draw(st.integers(2, 3)),
            "hidden_act": draw(st.sampled_from(ACTIVATIONS)),
            "layer_norm_eps": draw(st.sampled_from([1e-12, 1e-5, 1e-3])),
            "hidden_dropout_prob": dropout,
            "attention_probs_dropout_prob": draw(_DROPOUT),
            "classifier_dropout": draw(st.sampled_from([None, dropout])),
            "tie_word_embeddings": draw(st.booleans()),
            **fixed,
        }
    )


@st.composite
def _gpt2(draw, **fixed):
    heads, dropout = draw(st.sampled_from([1, 2, 4])), draw(_DROPOUT)
    return hf.GPT2Config(
        **{
            "n_embd": heads * draw(_WIDTH),
            "n_layer": draw(st.integers(1, 3)),
            "n_head": heads,
            "n_inner": draw(st.sampled_from([None, 1, 24])),
            "n_positions": draw(st.integers(CONTEXT, CONTEXT + 9)),
            "activation_function": draw(st.sampled_from(ACTIVATIONS)),
            "layer_norm_epsilon": draw(st.sampled_from([1e-6, 1e-5, 1e-3])),
            "resid_pdrop": dropout,
            "embd_pdrop": dropout,
            "attn_pdrop": draw(_DROPOUT),
            "reorder_and_upcast_attn": draw(st.booleans()),
            "tie_word_embeddings": draw(st.booleans()),
            **fixed,
        }
    )


@st.composite
def _llama(draw, **fixed):
    kv_heads, bias = draw(st.sampled_from([1, 2])), draw(st.booleans())
    heads, width = kv_heads * draw(st.integers(1, 3)), draw(_WIDTH)
    return hf.LlamaConfig(
        hidden_size=heads * width,
        head_dim=draw(st.sampled_from([None, width])),
        num_hidden_layers=draw(st.integers(1, 3)),
        num_attention_heads=heads,
        num_key_value_heads=draw(st.sampled_from([None, kv_heads])),
        intermediate_size=draw(st.integers(1, 40)),
        max_position_embeddings=draw(st.integers(CONTEXT, CONTEXT + 9)),
        hidden_act=draw(st.sampled_from(["silu", "swish"])),
        rms_norm_eps=draw(st.sampled_from([1e-6, 1e-5, 1e-3])),
        rope_parameters={
            "rope_type": "default",
            "rope_theta": draw(st.sampled_from([10000.0, 500000.0, 100.0])),
        },
        attention_bias=bias,
        mlp_bias=bias,
        attention_dropout=draw(_DROPOUT),
        tie_word_embeddings=draw(st.booleans()),
        **fixed,
    )


def _seq2seq(kind):
    @st.composite
    def made(draw, **fixed):
        sides = {}
        for side in ("encoder", "decoder"):
            sides |= {
                f"{side}_layers": draw(st.integers(1, 2)),
                f"{side}_attention_heads": draw(st.sampled_from([1, 2, 4])),
                f"{side}_ffn_dim": draw(st.integers(1, 30)),
            }
        return kind(
            d_model=draw(st.sampled_from([4, 8, 16])),
            max_position_embeddings=draw(st.integers(CONTEXT, CONTEXT + 9)),
            activation_function=draw(st.sampled_from(ACTIVATIONS)),
            scale_embedding=draw(st.booleans()),
            dropout=draw(_DROPOUT),
            attention_dropout=draw(_DROPOUT),
            tie_word_embeddings=draw(st.booleans()),
            **sides,
            **fixed,
        )

    return made


_OF = {
    "Bert": _bert,
    "GPT2": _gpt2,
    "Llama": _llama,
    "Bart": _seq2seq(hf.BartConfig),
    "Marian": _seq2seq(hf.MarianConfig),
}


@st.composite
def _pairs(draw, words, ids, target):
    """A BERT beside a GPT-2, whose vocabularies may be two."""
    heads = draw(st.sampled_from([1, 2, 4]))
    width = heads * draw(_WIDTH)
    pad = {name: ids[name] for name in ("pad_token_id",) if name in ids}
    encoder = draw(_bert(vocab_size=words, hidden_size=width, num_attention_heads=heads, **pad))
    own = {name: ids[name] for name in ("bos_token_id", "eos_token_id") if name in ids}
    decoder = draw(
        _gpt2(vocab_size=target, n_embd=width, n_head=heads, is_decoder=True,
              add_cross_attention=True, **own)
    )  # fmt: skip
    whole = {name: ids[name] for name in ids if name not in {"bos_token_id", "forced_eos_token_id"}}
    return hf.EncoderDecoderConfig(encoder=encoder.to_dict(), decoder=decoder.to_dict(), **whole)
