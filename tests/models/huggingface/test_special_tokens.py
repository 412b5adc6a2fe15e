"""Which special tokens a checkpoint states: numbers first, then names, well-known names last."""

from __future__ import annotations

import json

import pytest
import transformers as hf
from checkpoints import exported, fast, framed, imported, loaded, words

from tessera import errors

VOCABULARY = [
    "<unk>",
    "cat",
    "dog",
    "<|endoftext|>",
    "<|im_end|>",
    "<|eot|>",
    "</s>",
    "<pad>",
    "sat",
]
ADDED = {"__type": "AddedToken", "content": "<|eot|>", "lstrip": False, "normalized": False,
         "rstrip": False, "single_word": False, "special": True}  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    """A GPT-2 whose files say what is asked for; None takes a key out of `config.json`."""

    def make(*, config=None, generation=None, tokenizer=None, tokens=None, vocabulary=None):
        names = vocabulary or VOCABULARY
        sizes = {"vocab_size": len(names), "n_embd": 8, "n_layer": 1, "n_head": 2}
        hf.GPT2LMHeadModel(hf.GPT2Config(n_positions=16, **sizes)).save_pretrained(tmp_path)
        (tmp_path / "generation_config.json").unlink()
        fast(words(names), unk_token=names[0]).save_pretrained(tmp_path)
        for name, changes in {
            "config.json": {"eos_token_id": None, "bos_token_id": None, **(config or {})},
            "generation_config.json": generation,
            "tokenizer_config.json": tokenizer,
            "special_tokens_map.json": tokens,
        }.items():
            if changes is not None:
                path = tmp_path / name
                old = json.loads(path.read_text()) if path.exists() else {}
                new = {k: v for k, v in {**old, **changes}.items() if v is not None}
                path.write_text(json.dumps(new))
        return tmp_path

    return make


@pytest.mark.parametrize(
    ("files", "ends"),
    [
        ({"config": {"eos_token_id": 4}}, [4]),
        ({"config": {"eos_token_id": [5, 4]}}, [5, 4]),
        ({"generation": {"eos_token_id": 5}}, [5]),
        ({"generation": {"eos_token_id": [4, 5]}, "config": {"eos_token_id": 5}}, [5, 4]),
        ({"tokenizer": {"eos_token": "<|im_end|>"}}, [4]),
        ({"tokenizer": {"eos_token": ADDED}}, [5]),
        ({"tokens": {"eos_token": {"content": "<|eot|>"}}}, [5]),
        ({"tokenizer": {"eos_token": "</s>"}, "tokens": {"eos_token": "<|eot|>"}}, [6]),
        # What is stated in two files ends a text either way.
        ({"config": {"eos_token_id": 3}, "tokenizer": {"eos_token": "<|im_end|>"}}, [3, 4]),
        ({"config": {"eos_token_id": 3}, "generation": {"eos_token_id": 5}}, [5]),
        # Nothing is stated: by convention.
        ({}, [3]),
        # A token that the model does not have says nothing.
        ({"config": {"eos_token_id": 50256}}, [3]),
        ({"config": {"eos_token_id": [50256, 5]}}, [5]),
        ({"config": {"eos_token_id": 50256}, "tokenizer": {"eos_token": "<|im_end|>"}}, [4]),
        ({"tokenizer": {"eos_token": "<|nowhere|>"}}, [3]),
        # A mere word of the vocabulary may be the end.
        ({"config": {"eos_token_id": 1}}, [1]),
    ],
    ids=str,
)
def test_the_end_is_what_is_stated_first(folder, tmp_path, files, ends):
    version = imported(folder(**files))
    model = loaded(version)
    assert model.config.end_ids == tuple(ends)
    assert model.end_ids == set(ends)
    assert model.tokenizer.end_id == ends[0]
    assert model.tokenizer.special.end == VOCABULARY[ends[0]]
    # In a text it is what transformers makes of it.
    theirs = hf.AutoTokenizer.from_pretrained(tmp_path)
    assert model.tokenizer.encode("dog cat sat") == theirs("dog cat sat").input_ids
    out = exported(version, tmp_path / "out")
    for name in ("config.json", "generation_config.json"):
        old, new = (read_ends(path / name) for path in (tmp_path, out))
        assert old == new
    again = imported(out)
    assert again.source.config == version.source.config


def read_ends(path):
    """What a file says of the end; None where there is no such file."""
    return json.loads(path.read_text()).get("eos_token_id") if path.exists() else None


def test_a_number_that_is_no_token_is_named(folder):
    notes = imported(folder(config={"eos_token_id": 50256, "bos_token_id": 50256})).notes
    said = [note for note in notes if "50256" in note]
    assert len(said) == 2
    assert all("is no token of the model, which has 9: it is not followed" in note for note in said)


@pytest.mark.parametrize(
    ("files", "found"),
    [
        ({"config": {"bos_token_id": 4, "pad_token_id": 7}}, {"start_id": 4, "pad_id": 7}),
        (
            {"tokenizer": {"bos_token": "<|eot|>", "pad_token": "</s>"}},
            {"start_id": 5, "pad_id": 6},
        ),
        ({"generation": {"pad_token_id": 6, "eos_token_id": 6}}, {"pad_id": 7, "end_id": 6}),
        ({"tokenizer": {"mask_token": "dog"}}, {"mask_id": 2}),
        ({"tokenizer": {"unk_token": "cat"}}, {"unknown_id": 0}),
        ({"tokens": {"pad_token": "sat"}}, {"pad_id": 8}),
    ],
    ids=str,
)
def test_every_other_role_too(folder, files, found):
    model = loaded(imported(folder(**files)))
    for role, number in found.items():
        assert getattr(model.config, role) == number
        ours = getattr(model.tokenizer, role)
        assert ours == number


def test_nothing_that_ends_a_text_is_refused_with_what_to_do(folder):
    plain = ["<what>", "cat", "dog", "<|im_end|>", "sat"]
    with pytest.raises(errors.InvalidArgumentError, match="`eos_token`") as caught:
        imported(folder(vocabulary=plain))
    assert caught.value.reason == "TOKENIZER_WITHOUT_END"
    assert "`eos_token_id` in config.json" in caught.value.message
    model = loaded(imported(folder(vocabulary=plain, tokenizer={"eos_token": "<|im_end|>"})))
    assert model.end_ids == {3}


def test_an_encoder_has_the_names_of_its_tokenizer(tmp_path):
    names = ["<what>", "cat", "<go>", "<stop>", "<hide>", "<fill>", "dog", "[SEP]", "[CLS]"]
    inner = framed(words(names), "<go>", "<stop>")
    theirs = fast(inner, unk_token="<what>", cls_token="<go>", sep_token="<stop>",
                  mask_token="<hide>", pad_token="<fill>")  # fmt: skip
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = hf.BertConfig(vocab_size=len(names), intermediate_size=8, pad_token_id=5, **sizes)
    hf.BertForMaskedLM(config).save_pretrained(tmp_path)
    theirs.save_pretrained(tmp_path)
    model = loaded(imported(tmp_path))
    found = model.config
    assert (found.start_id, found.end_id, found.mask_id, found.pad_id) == (2, 3, 4, 5)
    assert found.unknown_id == 0
    assert model.tokenizer.encode_marked("cat <hide>") == [1, 4]
    assert list(model.frame.around([1])) == theirs("cat").input_ids


def test_a_tokenizer_that_puts_nothing_around_a_text_is_followed(tmp_path):
    names = ["[UNK]", "cat", "[CLS]", "[SEP]", "dog"]
    theirs = fast(words(names), unk_token="[UNK]", sep_token="[SEP]", cls_token="[CLS]")
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = hf.BertConfig(vocab_size=len(names), intermediate_size=8, **sizes)
    hf.BertForSequenceClassification(config).save_pretrained(tmp_path)
    theirs.save_pretrained(tmp_path)
    model = loaded(imported(tmp_path))
    assert list(model.frame.around([1, 4])) == theirs("cat dog").input_ids == [1, 4]
    assert model.frame.around_pair([1], [4])[0] == theirs("cat", "dog").input_ids
