"""BART, Marian and BERT with GPT-2 against transformers: weights in and out, the same logits."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import transformers as hf
from hypothesis import given
from hypothesis import strategies as st
from roundtrip import (
    bert_configs,
    check,
    close,
    few,
    gpt2_configs,
    load,
    randomized,
    saved,
    written,
)

from tessera.client import imports
from tessera.models.inputs import Inputs

pytestmark = pytest.mark.processes


@st.composite
def seq2seq_sizes(draw):
    heads = draw(st.sampled_from([1, 2, 4]))
    vocab_size = draw(st.integers(8, 40))
    sizes = {
        "vocab_size": vocab_size,
        "d_model": 4 * draw(st.sampled_from([2, 4])),
        "max_position_embeddings": draw(st.integers(8, 20)),
        "activation_function": draw(st.sampled_from(["gelu", "relu", "swish"])),
        "scale_embedding": draw(st.booleans()),
        "dropout": draw(st.sampled_from([0.0, 0.25])),
        "pad_token_id": vocab_size - 1,
        "eos_token_id": 0,
        "forced_eos_token_id": 0,
    }
    for side in ("encoder", "decoder"):
        sizes[f"{side}_layers"] = draw(st.integers(1, 2))
        sizes[f"{side}_attention_heads"] = heads
        sizes[f"{side}_ffn_dim"] = draw(st.integers(1, 30))
    return sizes


def as_seq2seq(seed, source_words, target_words, length=8):
    """Compares what the decoder writes over sources that are padded on either side."""

    def compare(module, model):
        generator = np.random.default_rng(seed)
        tokens = torch.from_numpy(generator.integers(0, source_words, (3, length)))
        written = torch.from_numpy(generator.integers(0, target_words, (3, length - 1)))
        mask = torch.zeros(3, length, dtype=torch.bool)
        for row in mask:
            begin = generator.integers(0, length)
            row[begin : generator.integers(begin, length) + 1] = True
        theirs = model(
            input_ids=tokens, attention_mask=mask.long(), decoder_input_ids=written
        ).logits
        close(module(Inputs(tokens=tokens, mask=mask, decoder_tokens=written)).logits, theirs)

    return compare


SEQ2SEQ = {
    "BartForConditionalGeneration": (hf.BartConfig, {"decoder_start_token_id": 0}),
    "MarianMTModel": (hf.MarianConfig, {}),
}


@pytest.mark.parametrize("name", SEQ2SEQ)
@few(max_examples=5)
@given(sizes=seq2seq_sizes(), seed=st.integers(0, 1000))
def test_encoder_decoders(name, sizes, seed):
    kind, fields = SEQ2SEQ[name]
    config = kind(**{"decoder_start_token_id": sizes["pad_token_id"], **sizes, **fields})
    model = randomized(getattr(hf, name)(config), seed)
    model.generation_config.bad_words_ids = [[sizes["pad_token_id"]]]
    with torch.no_grad():
        model.final_logits_bias += torch.randn_like(model.final_logits_bias)
    words = sizes["vocab_size"]
    source, old, new = check(model, as_seq2seq(seed, words, words))
    assert source.config.suppress_ids == (sizes["pad_token_id"],)
    assert source.config.first_id == model.config.decoder_start_token_id
    for values in (old, new):
        # Marian's `swish` is our `silu`; labels are of no use here.
        values["activation_function"] = values["activation_function"].replace("swish", "silu")
    assert new == old


@few(max_examples=5)
@given(data=st.data())
def test_bert2gpt2(data):
    encoder = data.draw(bert_configs(pad_token_id=0))
    width = encoder.hidden_size
    decoder = data.draw(
        gpt2_configs(
            n_embd=width,
            n_head=encoder.num_attention_heads,
            add_cross_attention=True,
            is_decoder=True,
        )
    )
    seed, pooled = data.draw(st.integers(0, 1000)), data.draw(st.booleans())
    model = hf.EncoderDecoderModel(
        encoder=hf.BertModel(encoder, add_pooling_layer=pooled),
        decoder=hf.GPT2LMHeadModel(decoder),
    )
    model.config.decoder_start_token_id = 1
    model.config.pad_token_id = 0
    pooler = ("encoder.pooler.dense.weight", "encoder.pooler.dense.bias")
    compare = as_seq2seq(seed, encoder.vocab_size, decoder.vocab_size)
    source, old, new = check(randomized(model, seed), compare, blank=pooler)
    assert source.config.first_id == 1
    # The start and the padding are those of the whole model.
    unlike = {"bos_token_id", "pad_token_id", "architectures", "dtype"}
    unlike |= {"n_inner"} if decoder.n_inner is None else set()
    for side in ("encoder", "decoder"):
        kept = {key: value for key, value in old[side].items() if key not in unlike}
        assert {key: new[side].get(key) for key in kept} == kept
    for key in ("decoder_start_token_id", "pad_token_id"):
        assert new[key] == old[key]


@pytest.mark.parametrize("name", SEQ2SEQ)
@few(max_examples=4)
@given(sizes=seq2seq_sizes(), seed=st.integers(0, 1000))
def test_encoder_decoders_with_matrices_of_their_own(tmp_path_factory, name, sizes, seed):
    kind, fields = SEQ2SEQ[name]
    start = {"decoder_start_token_id": sizes["pad_token_id"], "tie_word_embeddings": False}
    model = randomized(getattr(hf, name)(kind(**{**start, **sizes, **fields})), seed)
    source = imports.read(saved(model, tmp_path_factory.mktemp("theirs")))
    module, arrays = load(source)
    compare = as_seq2seq(seed, sizes["vocab_size"], sizes["vocab_size"])
    folder = written(source.config, arrays, tmp_path_factory.mktemp("ours"))
    again, info = type(model).from_pretrained(folder, output_loading_info=True)
    assert not any(info.values()), info
    with torch.inference_mode():
        compare(module, model)
        compare(module, again.eval())
