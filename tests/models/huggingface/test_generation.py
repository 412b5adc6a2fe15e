"""What a checkpoint says about writing: followed, or named in the notes of the import."""

from __future__ import annotations

import json

import pytest
import torch
import transformers as hf
from hypothesis import given
from hypothesis import strategies as st
from roundtrip import few, randomized

from tessera import errors
from tessera.client import checked_folder
from tessera.models.huggingface import catalog, generation
from tessera.models.huggingface.files import files
from tessera.models.huggingface.statement import Statement

pytestmark = pytest.mark.processes

hf.logging.set_verbosity_error()
hf.logging.disable_progress_bar()

WORDS, END = 20, 2


def gpt2(**fields):
    ids = {"bos_token_id": 1, "eos_token_id": END, "pad_token_id": END}
    sizes = {"vocab_size": WORDS, "n_embd": 8, "n_layer": 1, "n_head": 2, "n_positions": 32}
    return hf.GPT2LMHeadModel(hf.GPT2Config(**{**sizes, **ids, **fields}))


def bart():
    sizes = {f"{side}_layers": 1 for side in ("encoder", "decoder")}
    sizes |= {f"{side}_attention_heads": 2 for side in ("encoder", "decoder")}
    sizes |= {f"{side}_ffn_dim": 8 for side in ("encoder", "decoder")}
    return hf.BartForConditionalGeneration(
        hf.BartConfig(vocab_size=WORDS, d_model=8, max_position_embeddings=16, **sizes)
    )


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    made = {"gpt2": gpt2(), "bart": bart()}
    found = {}
    for name, model in made.items():
        found[name] = tmp_path_factory.mktemp(name)
        model.save_pretrained(found[name])
    return found


@pytest.fixture
def read(folders, tmp_path):
    """Reads one of the folders with another `generation_config.json` or `config.json`."""

    def read(name, settings, **changes):
        for path in folders[name].iterdir():
            (tmp_path / path.name).write_bytes(path.read_bytes())
        path = tmp_path / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
        (tmp_path / "generation_config.json").unlink()
        if settings is not None:
            (tmp_path / "generation_config.json").write_text(json.dumps(settings))
        return checked_folder.read(tmp_path)

    return read


def said(source):
    """What the notes say of writing."""
    files = ("generation_config.json: ", "config.json: ")
    return [note for note in source.notes if note.startswith(files)]


UNKNOWN = "is not followed, and no request can ask for it"


@pytest.mark.parametrize(
    ("settings", "note"),
    [
        ({"no_repeat_ngram_size": 3}, f"no_repeat_ngram_size 3 {UNKNOWN}"),
        ({"encoder_no_repeat_ngram_size": 2}, f"encoder_no_repeat_ngram_size 2 {UNKNOWN}"),
        ({"min_length": 56}, f"min_length 56 {UNKNOWN}"),
        ({"min_new_tokens": 4}, f"min_new_tokens 4 {UNKNOWN}"),
        ({"repetition_penalty": 1.2}, f"repetition_penalty 1.2 {UNKNOWN}"),
        ({"forced_bos_token_id": 0}, f"forced_bos_token_id 0 {UNKNOWN}"),
        ({"forced_eos_token_id": 7}, f"forced_eos_token_id 7 {UNKNOWN}"),
        ({"num_beam_groups": 2}, f"num_beam_groups 2 {UNKNOWN}"),
        ({"diversity_penalty": 0.5}, f"diversity_penalty 0.5 {UNKNOWN}"),
        ({"early_stopping": True}, f"early_stopping true {UNKNOWN}"),
        ({"renormalize_logits": True}, f"renormalize_logits true {UNKNOWN}"),
        ({"begin_suppress_tokens": [5, 6]}, f"begin_suppress_tokens [5, 6] {UNKNOWN}"),
        (
            {"bad_words_ids": [[4], [5, 6]]},
            f"bad_words_ids [[5, 6]] {UNKNOWN}: only single tokens can be forbidden",
        ),
        ({"num_beams": 4}, "num_beams 4 is no default here: ask for it with `beams`"),
        ({"max_length": 142}, "max_length 142 is no default here: ask for it with `max_tokens`"),
        ({"top_k": 50}, "top_k 50 is no default here: ask for it with `sampling.top_k`"),
        (
            {"temperature": 0.6},
            "temperature 0.6 is no default here: ask for it with `sampling.temperature`",
        ),
    ],
    ids=str,
)
def test_what_is_not_followed_is_named(read, settings, note):
    for name in ("gpt2", "bart"):
        assert said(read(name, {"eos_token_id": END, **settings})) == [
            f"generation_config.json: {note}"
        ]


def test_chance_is_named_where_ours_is_another(read):
    (note,) = said(read("gpt2", {"do_sample": False}))
    assert "do_sample false is no default here" in note
    assert not said(read("gpt2", {"do_sample": True}))
    (note,) = said(read("bart", {"do_sample": True}))
    assert "ask Generate" in note
    assert not said(read("bart", {"do_sample": False}))


NEUTRAL = {
    "max_length": 20,
    "min_length": 0,
    "early_stopping": False,
    "num_beams": 1,
    "num_beam_groups": 1,
    "diversity_penalty": 0.0,
    "length_penalty": 1.0,
    "repetition_penalty": 1.0,
    "encoder_repetition_penalty": 1.0,
    "no_repeat_ngram_size": 0,
    "encoder_no_repeat_ngram_size": 0,
    "temperature": 1.0,
    "top_k": 0,
    "top_p": 1.0,
    "typical_p": 1.0,
    "epsilon_cutoff": 0.0,
    "eta_cutoff": 0.0,
    "bad_words_ids": [],
    "suppress_tokens": [],
    "begin_suppress_tokens": None,
    "forced_bos_token_id": None,
    "forced_eos_token_id": END,
    "renormalize_logits": False,
    "use_cache": True,
    "pad_token_id": 1,
    "eos_token_id": END,
}


@pytest.mark.parametrize("name", ["gpt2", "bart"])
def test_what_changes_nothing_is_not(read, name):
    source = read(name, NEUTRAL)
    assert not said(source)
    assert source.config.suppress_ids == ()
    written = files(source.architecture, source.config, None, "float32")["generation_config.json"]
    assert not said(read(name, json.loads(written)))


def test_an_encoder_writes_nothing(tmp_path):
    sizes = {"hidden_size": 8, "intermediate_size": 8, "max_position_embeddings": 16}
    config = hf.BertConfig(vocab_size=9, num_attention_heads=2, num_hidden_layers=1, **sizes)
    hf.BertForMaskedLM(config).save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "no_repeat_ngram_size": 3}))
    assert not said(checked_folder.read(tmp_path))


def test_older_checkpoints_say_it_in_their_config(read):
    """As facebook/bart-large-cnn and Marian's first ones."""
    fields = {"num_beams": 4, "no_repeat_ngram_size": 3, "bad_words_ids": [[5]], "top_k": 50}
    old = read("bart", None, **fields)
    assert len(said(old)) == 2
    assert old.config.suppress_ids == (5,)
    # transformers goes by one file only.
    new = read("bart", {"eos_token_id": END}, **fields)
    assert not said(new)
    assert new.config.suppress_ids == ()


def test_values_of_a_decoder_within_are_known():
    inner = {"eos_token_id": 7, "top_k": 50, "num_beams": 1, "bad_words_ids": None, "min_length": 5}
    values = Statement({"decoder": inner, "num_beams": 4, "eos_token_id": None})
    found = generation.read(values, None, "decoder")
    names = ("eos_token_id", "num_beams", "min_length", "bad_words_ids", "top_p")
    assert [found.get(name) for name in names] == [7, 4, 5, None, None]
    found = generation.read(values, Statement({"num_beams": 2}), "decoder")
    assert [found.get(name) for name in names] == [None, 2, None, None, None]


@pytest.mark.parametrize(
    ("config", "settings", "end"),
    [
        (2, None, 2),
        (2, 3, 3),
        ([2, 3], 3, 3),
        ([2, 3], [3, 2], 2),
        (2, [4, 5], 4),
        (None, 4, 4),
        (None, None, -1),
        ([], [], -1),
    ],
)
def test_the_end_is_the_one_at_which_transformers_ends(config, settings, end):
    stated = generation.Generation(Statement({"eos_token_id": settings}))
    assert generation.read_end(config, stated) == end


@pytest.mark.parametrize(
    ("config", "settings", "ends"),
    [
        ([END, 9], None, (END, 9)),
        (END, {"eos_token_id": [END, 9, 4]}, (END, 9, 4)),
        ([9, 4], {"eos_token_id": [4, 9]}, (9, 4)),
        (END, {"eos_token_id": 9}, (9,)),
        ([WORDS, END, -1], None, (END,)),
    ],
)
def test_every_end_that_is_stated_ends_a_text_and_goes_out_again(read, config, settings, ends):
    for name in ("gpt2", "bart"):
        source = read(name, settings, eos_token_id=config)
        assert source.config.end_ids == ends
        assert not any("eos_token_id [" in note for note in said(source))
        out = files(source.architecture, source.config, None, "float32")
        stated = list(ends) if len(ends) > 1 else ends[0]
        for file in ("config.json", "generation_config.json"):
            assert json.loads(out[file])["eos_token_id"] == stated


def test_single_tokens_are_never_written(read):
    settings = {
        "bad_words_ids": [[5], [END], [3, 4]],
        "suppress_tokens": [7, 5, WORDS, -1],
        "eos_token_id": END,
    }
    source = read("gpt2", settings)
    # A phrase cannot forbid the end, and what the vocabulary lacks is never written.
    assert source.config.suppress_ids == (5, 7)


@few(max_examples=5)
@given(seed=st.integers(0, 1000), suppressed=st.sets(st.integers(3, WORDS - 1), max_size=12))
def test_suppressed_tokens_are_those_of_transformers(tmp_path_factory, seed, suppressed):
    folder = tmp_path_factory.mktemp("gpt2")
    model = randomized(gpt2(), seed)
    model.generation_config.suppress_tokens = sorted(suppressed)
    model.save_pretrained(folder)
    source = checked_folder.read(folder)
    assert set(source.config.suppress_ids) == suppressed
    again = folder / "again"
    model.save_pretrained(again)
    for name, content in files(source.architecture, source.config, None, "float32").items():
        (again / name).write_bytes(content)
    prompt = torch.tensor([[4, 5, 6]])
    asked = {"max_new_tokens": 8, "do_sample": False}
    theirs = model.generate(prompt, **asked)
    ours = hf.GPT2LMHeadModel.from_pretrained(again).eval().generate(prompt, **asked)
    assert torch.equal(theirs, ours)
    assert not suppressed & set(theirs[0, 3:].tolist())


@pytest.mark.parametrize(
    "settings",
    [
        ["generation"],
        {"eos_token_id": ["x"]},
        {"bad_words_ids": 5},
        {"suppress_tokens": [None, "x"]},
    ],
    ids=str,
)
def test_what_makes_no_sense_is_refused(read, settings):
    with pytest.raises(errors.InvalidArgumentError) as caught:
        read("gpt2", settings)
    assert caught.value.reason == "INVALID_CHECKPOINT"


@pytest.mark.parametrize(
    ("whole", "inner", "settings", "first"),
    [
        ({"decoder_start_token_id": 5, "bos_token_id": 6}, {"bos_token_id": 7}, {}, 5),
        ({"bos_token_id": 6}, {"bos_token_id": 7}, {}, 6),
        ({}, {"bos_token_id": 7}, {}, 7),
        ({}, {"bos_token_id": WORDS}, {}, -1),
        ({}, {}, {}, -1),
        ({"decoder_start_token_id": 5}, {}, {"decoder_start_token_id": 8}, 8),
        ({"decoder_start_token_id": 5}, {}, {"bos_token_id": 8}, 5),
    ],
)
def test_the_first_token_is_the_one_of_transformers(whole, inner, settings, first):
    sizes = {"num_hidden_layers": 1, "num_attention_heads": 2, "hidden_size": 8}
    bert = {"model_type": "bert", "vocab_size": 9, "intermediate_size": 8, **sizes}
    gpt2 = {"model_type": "gpt2", "n_layer": 1, "n_head": 2, "n_embd": 8, "n_positions": 16}
    gpt2 |= {"vocab_size": WORDS, "eos_token_id": END, "add_cross_attention": True, **inner}
    values = {"architectures": ["EncoderDecoderModel"], "encoder": bert, "decoder": gpt2, **whole}
    values["encoder"]["max_position_embeddings"] = 16
    _, config = catalog.read(Statement(values), Statement(settings) if settings else None)
    assert (config.first_id, config.end_id, config.pad_id) == (first, END, 0)
