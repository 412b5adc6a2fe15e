"""A text ends at every token that its checkpoint names, as in transformers."""

from __future__ import annotations

import asyncio

import pytest
import torch
import transformers as hf
from checkpoints import fast, imported, loaded, vocabulary
from hypothesis import given
from hypothesis import strategies as st
from roundtrip import few, randomized

from tessera.api.inference.v1 import inference_pb2 as pb

from .served import Served, ask, generate, joined

NAMES = {"start": "<|im_start|>", "end": "<|im_end|>"}
LONGEST = 24


def gpt2(folder, seed, ends, tokenizer=None):
    """A model that soon writes one of its ends."""
    size = tokenizer.vocab_size if tokenizer else 60
    config = hf.GPT2Config(vocab_size=size, n_embd=16, n_layer=2, n_head=2, n_positions=64,
                           bos_token_id=0, eos_token_id=ends)  # fmt: skip
    model = randomized(hf.GPT2LMHeadModel(config), seed)
    model.save_pretrained(folder)
    if tokenizer is not None:
        tokenizer.save_pretrained(folder)
    return model


async def written(model, prompt, **asked):
    served = Served(model)
    try:
        replica = await served()
        tokens = pb.Tokens(ids=prompt)
        return await generate(replica, tokens=tokens, max_tokens=LONGEST, **asked)
    finally:
        await served.close()


@pytest.mark.waits
@few(max_examples=8)
@given(seed=st.integers(0, 1000), ends=st.lists(st.integers(0, 59), min_size=1, max_size=20),
       beams=st.sampled_from([1, 1, 3]))  # fmt: skip
def test_it_ends_where_transformers_ends(tmp_path_factory, seed, ends, beams):
    folder = tmp_path_factory.mktemp("model")
    theirs = gpt2(folder, seed, list(dict.fromkeys(ends)))
    expected = theirs.generate(
        torch.tensor([[5, 6, 7]]), max_new_tokens=LONGEST, do_sample=False, num_beams=beams,
        pad_token_id=0,
    )[0, 3:].tolist()  # fmt: skip
    model = loaded(imported(folder))
    asked = {"sampling": pb.Sampling(temperature=0)} if beams == 1 else {"beams": beams}
    parts = asyncio.run(written(model, [5, 6, 7], **asked))
    tokens = list(joined(parts)[1])
    assert tokens == expected
    ended = tokens[-1] in ends
    assert parts[-1].finish_reason == (pb.FINISH_REASON_END if ended else pb.FINISH_REASON_LENGTH)


@pytest.mark.parametrize("named", ["config", "tokenizer"])
async def test_a_fine_tune_with_another_end_is_served_and_ends_there(tmp_path, named):
    inner = vocabulary("byte_bpe", NAMES)
    words = fast(inner, **({"eos_token": NAMES["end"]} if named == "tokenizer" else {}))
    end = inner.token_to_id(NAMES["end"])
    theirs = gpt2(tmp_path, 3, end if named == "config" else None, words)
    with torch.no_grad():  # It writes its end after whatever it has read.
        theirs.transformer.ln_f.bias.copy_(theirs.transformer.wte.weight[end] * 50)
    theirs.save_pretrained(tmp_path)
    model = loaded(imported(tmp_path))
    served = Served(model)
    try:
        replica = await served()
        parts = await generate(replica, text="the cat", sampling=pb.Sampling(temperature=0))
        scored = await ask(replica, "Score", texts=[pb.ScoredText(target=pb.Input(text="a cat"))])
    finally:
        await served.close()
    assert joined(parts)[:2] == ("", (end,))
    assert parts[-1].finish_reason == pb.FINISH_REASON_END
    assert scored.scores[0].tokens
