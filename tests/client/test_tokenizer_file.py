"""A tokenizer comes in as transformers reads it, and goes out as it came in."""

from __future__ import annotations

import json
import sys

import pytest
import torch
import transformers as hf
from checkpoints import TEXTS, exported, fast, imported, loaded, vocabulary, words
from random_tokenizers import CHATS

from tessera import errors
from tessera.client import tokenizer_file
from tessera.models.huggingface.kept import INDEX, carried, read_kept
from tessera.models.huggingface.origin import ASSET as ORIGIN

SAID = [
    {"role": "system", "content": "Sei kurz."},
    {"role": "user", "content": " the cat <|im_end|> sat "},
    {"role": "assistant", "content": "naïve 日本 🙂"},
]
MORE = ["", " ", "a</s>b", "<|im_start|>user\nhi<|im_end|>", "[CLS] x [MASK]", "The CAT  naïve\t!"]


def gpt2(folder, tokenizer, **ids):
    size = max(tokenizer.get_vocab().values()) + 1
    config = hf.GPT2Config(vocab_size=size, n_embd=8, n_layer=1, n_head=2, n_positions=32,
                           **{"bos_token_id": None, "eos_token_id": None, **ids})  # fmt: skip
    torch.manual_seed(0)
    hf.GPT2LMHeadModel(config).save_pretrained(folder)
    return folder


def same(before, after, *, chats=()):
    """Whether two folders are one tokenizer to transformers."""
    old, new = (hf.AutoTokenizer.from_pretrained(folder) for folder in (before, after))
    assert type(old) is type(new)
    for text in [*TEXTS, *MORE]:
        assert old(text).input_ids == new(text).input_ids
        assert old(text, "b").input_ids == new(text, "b").input_ids
        ids = old(text).input_ids
        assert old.decode(ids) == new.decode(ids)
    assert old.special_tokens_map == new.special_tokens_map
    assert old.all_special_ids == new.all_special_ids
    assert old.chat_template == new.chat_template
    assert old.model_max_length == new.model_max_length
    assert old.padding_side == new.padding_side
    for name in chats:
        for go_on in (False, True):
            asked = {"chat_template": name, "add_generation_prompt": go_on, "tokenize": False}
            assert old.apply_chat_template(SAID, **asked) == new.apply_chat_template(SAID, **asked)
    return old


def follows(version, theirs):
    """Ours makes the same tokens of texts in which no special token is written."""
    model = loaded(version)
    assert model.tokenizer is not None
    for text in TEXTS:
        ids = model.tokenizer.encode(text)
        assert ids == theirs(text, add_special_tokens=False).input_ids
        assert list(model.frame.around(ids)) == theirs(text).input_ids


BERT = {"pad": "[PAD]", "unknown": "[UNK]", "start": "[CLS]", "end": "[SEP]", "mask": "[MASK]"}


def bert(folder, size):
    config = hf.BertConfig(vocab_size=size, hidden_size=8, num_hidden_layers=1,
                           num_attention_heads=2, intermediate_size=8)  # fmt: skip
    hf.BertModel(config).save_pretrained(folder)


@pytest.mark.parametrize("lower", [True, False])
@pytest.mark.parametrize(
    "files", [("vocab.txt",), ("tokenizer.json",), ("tokenizer.json", "vocab.txt")]
)
def test_a_class_of_transformers_has_its_word_in_a_tokenizer(tmp_path, lower, files):
    # What the file says of case is the opposite of what the class is told.
    inner = vocabulary("wordpiece", BERT, lowercase=not lower)
    numbers = inner.get_vocab()
    bert(tmp_path, len(numbers))
    if "vocab.txt" in files:
        order = sorted(numbers, key=numbers.get)
        (tmp_path / "vocab.txt").write_text("\n".join(order) + "\n")
    if "tokenizer.json" in files:
        (tmp_path / "tokenizer.json").write_text(inner.to_str())
    settings = {"tokenizer_class": "BertTokenizer", "do_lower_case": lower}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    version = imported(tmp_path)
    after = exported(version, tmp_path / "out")
    follows(version, same(tmp_path, after))
    # Whatever else was there says the same once more.
    kept = {"vocab.txt"} if files == ("vocab.txt",) else {"tokenizer.json"}
    assert {path.name for path in after.iterdir()} & {"vocab.txt", "tokenizer.json"} == kept


def test_merges_and_a_vocabulary_are_kept(tmp_path):
    inner = vocabulary("byte_bpe", {"end": "<|endoftext|>"})
    theirs = hf.GPT2Tokenizer(
        vocab=inner.get_vocab(), merges=[tuple(pair) for pair in json.loads(inner.to_str())[
            "model"]["merges"]],
    )  # fmt: skip
    gpt2(tmp_path, theirs)
    content = json.loads(theirs.backend_tokenizer.to_str())["model"]
    (tmp_path / "vocab.json").write_text(json.dumps(content["vocab"]))
    lines = [" ".join(pair) for pair in content["merges"]]
    (tmp_path / "merges.txt").write_text("#version: 0.2\n" + "\n".join(lines) + "\n")
    (tmp_path / "special_tokens_map.json").write_text(json.dumps({"eos_token": "<|endoftext|>"}))
    version = imported(tmp_path)
    after = exported(version, tmp_path / "out")
    follows(version, same(tmp_path, after))
    assert (after / "merges.txt").read_bytes() == (tmp_path / "merges.txt").read_bytes()
    assert not (after / "tokenizer.json").exists()


def test_without_transformers_a_tokenizer_is_read_as_it_stands_and_that_is_said(
    tmp_path, monkeypatch
):
    inner = vocabulary("wordpiece", BERT)
    bert(tmp_path, inner.get_vocab_size())
    (tmp_path / "tokenizer.json").write_text(inner.to_str())
    monkeypatch.setitem(sys.modules, "transformers", None)
    (note,) = (note for note in imported(tmp_path).notes if "tokenizer" in note)
    assert "is read as it stands" in note
    assert "transformers is not installed" in note
    (tmp_path / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "TokenizersBackend", "sep_token": "[SEP]"})
    )
    assert not [note for note in imported(tmp_path).notes if "tokenizer" in note]


def test_tokens_that_a_class_adds_and_the_model_does_not_know_are_left_out(tmp_path):
    inner = vocabulary("byte_bpe", {"end": "<|stop|>"})
    theirs = fast(inner, eos_token="<|stop|>")
    gpt2(tmp_path, theirs, eos_token_id=theirs.eos_token_id)
    theirs.save_pretrained(tmp_path)
    settings = json.loads((tmp_path / "tokenizer_config.json").read_text())
    settings["tokenizer_class"] = "GPT2Tokenizer"
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    assert "<|endoftext|>" in hf.AutoTokenizer.from_pretrained(tmp_path).get_vocab()
    version = imported(tmp_path)
    model = loaded(version)
    assert model.tokenizer.vocab_size == version.source.config.vocab_size
    assert model.tokenizer.special.end == "<|stop|>"
    same(tmp_path, exported(version, tmp_path / "out"))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("tokenizer.json", b"{}"),
        ("tokenizer_config.json", b"[1]"),
        ("tokenizer_config.json", b"{"),
        ("tokenizer_config.json", b'{"eos_token": 7}'),
        ("special_tokens_map.json", b'{"pad_token": {"content": [1]}}'),
    ],
)
def test_files_that_make_no_sense_are_refused(tmp_path, name, content):
    theirs = fast(vocabulary("byte_bpe", {"end": "<|stop|>"}), eos_token="<|stop|>")
    theirs.save_pretrained(gpt2(tmp_path, theirs))
    (tmp_path / name).write_bytes(content)
    with pytest.raises(errors.InvalidArgumentError) as caught:
        imported(tmp_path)
    assert caught.value.reason in {"INVALID_TOKENIZER", "INVALID_CHECKPOINT"}


def test_what_is_kept_is_bounded(tmp_path, monkeypatch):
    theirs = fast(vocabulary("byte_bpe", {"end": "<|stop|>"}), eos_token="<|stop|>")
    theirs.chat_template = "x" * 5000
    theirs.save_pretrained(gpt2(tmp_path, theirs))
    monkeypatch.setattr(tokenizer_file, "MOST_BYTES", 4096)
    with pytest.raises(errors.InvalidArgumentError) as caught:
        imported(tmp_path)
    assert caught.value.reason == "TOKENIZER_TOO_LARGE"


def test_a_version_that_has_the_same_tokenizer_takes_over_its_files(tmp_path):
    inner = words(["<unk>", "</s>", "cat", "Cat"])
    theirs = fast(inner, eos_token="</s>", unk_token="<unk>")
    theirs.chat_template = {"default": CHATS[0], "tool": CHATS[1]}
    theirs.save_pretrained(gpt2(tmp_path, theirs))
    assets = imported(tmp_path).assets
    taken = carried({**assets, "job.json": b"{}"})
    assert taken == {name: assets[name] for name in assets.keys() - {"config.json", ORIGIN}}
    assert read_kept(taken) == read_kept(assets)
    assert carried({"tokenizer.json": b"x", "config.json": b"y"}) == {"tokenizer.json": b"x"}
    assert INDEX in taken
