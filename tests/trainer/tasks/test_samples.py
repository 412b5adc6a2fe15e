"""What a batch of each task holds, decoded again."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.trainer.tasks.examples import (
    CLASSES,
    JUDGED,
    PAIRS,
    SCORED,
    SEVERAL,
    SIMILAR,
    TAGS,
    TEXT,
)


def batch_of(material, split="train", count=0):
    keys = material.dataset.held_out(count) if split == "held_out" else material.dataset.train(0, 8)
    return material.dataset.batch(split, keys)


def test_a_window_is_followed_by_its_next_token(prepare):
    _, material = prepare(TEXT, "language_modeling", "gpt")
    batch = batch_of(material, "held_out", 3)
    read, wanted = batch.inputs.tokens, batch.targets["next"]
    assert read.shape == wanted.shape == (3, 32)
    assert torch.equal(read[:, 1:], wanted[:, :-1])
    assert all(material.tokenizer.decode(row.tolist()) in TEXT for row in read)
    assert batch.counts == (96,)
    assert batch.tokens == 96


def test_hidden_tokens_are_those_of_the_text(prepare):
    _, material = prepare(TEXT, "masked_language_modeling")
    batch, tokenizer = batch_of(material), material.tokenizer
    tokens = batch.inputs.tokens.clone()
    assert tokens.shape == (8, 32)
    assert (tokens[:, 0] == tokenizer.start_id).all()
    assert (tokens[:, -1] == tokenizer.end_id).all()
    tokens.flatten()[batch.inputs.masked_at] = batch.targets["masked"]
    assert all(tokenizer.decode(row.tolist()) in TEXT for row in tokens)
    assert batch.counts == (len(batch.targets["masked"]),)
    assert batch.tokens == tokens.numel()
    # 30 tokens of text, of which 15 % are targets.
    assert (batch.inputs.masked_at // 32).bincount().tolist() == [4] * 8


def test_texts_that_are_not_packed_are_samples_of_their_own(prepare):
    _, material = prepare(CLASSES, "masked_language_modeling", packing=False)
    batch, tokenizer = batch_of(material), material.tokenizer
    places, hidden = batch.inputs.masked_at, batch.targets["masked"]
    tokens = batch.inputs.tokens.clone()
    mask = batch.inputs.mask
    tokens.flatten()[places] = hidden
    read = [row[real].tolist() for row, real in zip(tokens, mask, strict=True)]
    assert {tokenizer.decode(row) for row in read} == {record["text"] for record in CLASSES}
    assert all((row[0], row[-1]) == (tokenizer.start_id, tokenizer.end_id) for row in read)
    assert not set(hidden.tolist()) & {tokenizer.start_id, tokenizer.end_id, tokenizer.pad_id}
    assert mask.flatten()[places].all()
    assert (batch.counts, batch.tokens) == ((len(hidden),), int(mask.sum()))


def test_lines_of_a_text_file_that_are_not_packed(prepare):
    text = "a short line\n\nand one that is far too long for a sequence of 32 tokens\n" * 4
    _, material = prepare(text, "masked_language_modeling", packing=False)
    batch = batch_of(material, "held_out")
    lengths = set(batch.inputs.mask.sum(1).tolist())
    assert lengths == {len("a short line") + 2, 32}


def test_the_decoder_goes_on_where_the_encoder_ends(prepare):
    _, material = prepare(TEXT, "joint", "bert_gpt")
    dataset, tokenizer = material.dataset, material.tokenizer
    cuts = set()
    for at in range(0, 128, 16):
        keys = dataset.train(at, 16)
        batch = dataset.batch("train", keys)
        inputs = batch.inputs
        assert inputs.mask is None  # samples in a row are cut at the same place
        assert (inputs.tokens[:, 0] == tokenizer.start_id).all()
        assert (inputs.decoder_tokens[:, 0] == tokenizer.start_id).all()
        heard = inputs.tokens[:, 1:-1]
        said = batch.targets["next"].view(16, -1)
        whole = torch.cat([heard, said], dim=1)
        assert whole.shape == (16, 32)
        assert all(tokenizer.decode(row.tolist()) in TEXT for row in whole)
        assert torch.equal(inputs.decoder_tokens[:, 1:], said[:, :-1])
        hidden = inputs.masked_tokens.clone()
        hidden.flatten()[inputs.masked_at] = batch.targets["masked"]
        assert torch.equal(hidden, inputs.tokens)
        assert batch.counts == (len(inputs.masked_at), said.numel())
        cuts.add(heard.shape[1])
        # Which samples are in a batch does not change where they are cut.
        alone = dataset.batch("train", keys[5:6])
        assert torch.equal(alone.inputs.tokens, inputs.tokens[5:6])
        assert torch.equal(alone.inputs.masked_tokens, inputs.masked_tokens[5:6])
    assert len(cuts) > 3


@pytest.mark.parametrize(
    ("family", "kind"), [("transformer", "translation"), ("bert_gpt", "joint")]
)
def test_pairs_are_read_and_written(prepare, family, kind):
    _, material = prepare(PAIRS, kind, family)
    batch, tokenizer = batch_of(material), material.tokenizer
    inputs, written = batch.inputs, iter(batch.targets["next"].tolist())
    pairs = {}
    lengths = inputs.mask.sum(dim=1).tolist()
    real = np.zeros(inputs.decoder_tokens.shape, dtype=bool)
    real.flat[inputs.at.numpy()] = True
    for source, length, target, here in zip(
        inputs.tokens.tolist(), lengths, inputs.decoder_tokens.tolist(), real, strict=True
    ):
        assert source[length - 1] == tokenizer.end_id
        assert (source[0] == tokenizer.start_id) == (family == "bert_gpt")
        assert target[0] == tokenizer.start_id
        said = [next(written) for _ in range(here.sum())]
        assert said == [*target[1 : here.sum()], tokenizer.end_id]
        pairs[tokenizer.decode(source)] = tokenizer.decode(said)
    assert next(written, None) is None
    assert pairs == {pair["source"]: pair["target"] for pair in PAIRS}
    assert batch.counts[-1] == len(batch.targets["next"])
    assert batch.tokens == sum(lengths) + real.sum()


def test_long_sources_are_cut_and_long_targets_left_out_of_training(prepare):
    records = [
        {"source": "a" * 50, "target": "b" * 8},
        {"source": "c", "target": "d" * 40},
        {"source": "e", "target": "f" * 31},
    ]
    with pytest.warns(UserWarning, match="1 of 3 training records are left out"):
        _, material = prepare(records, "translation", "transformer")
    train, held_out = (material.dataset.tables[name] for name in ("train", "held_out"))
    tokenizer = material.tokenizer
    assert [len(train), len(held_out)] == [2, 3]
    assert tokenizer.decode(train.row(0)["source"]) == "a" * 31
    assert train.row(0)["source"][-1] == tokenizer.end_id
    assert tokenizer.decode(train.row(1)["target"]) == "f" * 31
    assert tokenizer.decode(held_out.row(1)["target"]) == "d" * 32


def test_texts_have_their_classes(prepare):
    records = [*CLASSES, {"text": "ab", "text_pair": "cd", "label": "big"}]
    _, material = prepare(records, "classification")
    assert material.task.labels == ("big", "small")
    batch, tokenizer = batch_of(material, "held_out"), material.tokenizer
    found = [
        (tokenizer.decode(row.tolist()), material.task.labels[label])
        for row, label in zip(batch.inputs.tokens, batch.targets["classes"], strict=True)
    ]
    expected = [(r["text"] + r.get("text_pair", ""), r["label"]) for r in records]
    assert sorted(found) == sorted(expected)
    at = found.index(("abcd", "big"))
    ids = tokenizer.encode("abcd")
    start, end = tokenizer.start_id, tokenizer.end_id
    row = batch.inputs.tokens[at].tolist()
    assert row[:7] == [start, *ids[:2], end, *ids[2:], end]
    assert batch.inputs.segments[at].tolist()[:8] == [0, 0, 0, 0, 1, 1, 1, 0]
    assert batch.inputs.segments.sum() == 3
    assert batch.counts == (9,)


def test_texts_have_their_scores(prepare):
    records = [*JUDGED, {"text": "ab", "score": 0.5}, {"text": "a" * 40, "score": "0.75"}]
    _, material = prepare(records, "regression")
    assert material.task.labels == ("LABEL_0",)
    batch, tokenizer = batch_of(material, "held_out"), material.tokenizer
    rows = zip(batch.inputs.tokens, batch.inputs.segments, batch.targets["scores"], strict=True)
    found = {
        tokenizer.decode(row.tolist()): (tokenizer.decode(row[second > 0].tolist()), score.item())
        for row, second, score in rows
    }
    for record in JUDGED:
        first, other = record["text"], record["text_pair"]
        # Of both 29 tokens fit, and the longer one is cut.
        whole = first[: 29 - len(other)] + other
        assert found.pop(whole) == (other, record["score"])
    assert found == {"ab": ("", 0.5), "a" * 30: ("", 0.75)}
    assert batch.counts == (10,)


def test_a_score_is_called_as_a_version_calls_it(prepare):
    assert prepare(JUDGED, "regression", earlier=("relevance",))[1].task.labels == ("relevance",)


def test_a_text_has_any_number_of_classes(prepare):
    _, material = prepare(SEVERAL, "classification", multi_label=True)
    batch = batch_of(material, "held_out")
    assert batch.counts == (24,)
    found = {
        material.tokenizer.decode(row.tolist()): [
            name for name, here in zip(material.task.labels, wanted, strict=True) if here
        ]
        for row, wanted in zip(batch.inputs.tokens, batch.targets["classes"], strict=True)
    }
    assert found == {record["text"]: record["label"] for record in SEVERAL}


def test_labels_are_those_of_the_spec_or_of_the_version_or_of_the_data(prepare):
    def labels(records, **choices):
        return prepare(records, "sentiment", **choices)[1].task.labels

    assert labels(CLASSES) == ("big", "small")
    assert labels(CLASSES, earlier=("small", "big", "huge")) == ("small", "big", "huge")
    stated = ("small", "tiny", "big")
    assert labels(CLASSES, earlier=("small", "big"), labels=stated) == stated
    numbers = [{"text": "a", "label": number} for number in (10, 9, 2)]
    assert labels(numbers) == ("2", "9", "10")


def test_the_first_token_of_a_word_is_a_target(prepare):
    records = [*TAGS[:2], {"tokens": ["ab" * 10, "cd", "e" * 20, "f"], "tags": list("ABAB")}]
    _, material = prepare(records, "token_classification")
    batch, tokenizer, labels = (
        batch_of(material, "held_out"),
        material.tokenizer,
        material.task.labels,
    )
    firsts = batch.inputs.tokens.flatten()[batch.targets["places"]]
    found = {}
    for row, token, tag in zip(
        batch.targets["rows"].tolist(), firsts.tolist(), batch.targets["tags"].tolist(), strict=True
    ):
        found.setdefault(row, []).append((tokenizer.token_text(token)[-1], labels[tag]))
    expected = [
        [(word[0], tag) for word, tag in zip(record["tokens"], record["tags"], strict=True)]
        for record in records
    ]
    # The last word of the long record lies past 30 tokens.
    del expected[2][3]
    assert sorted(found.values()) == sorted(expected)
    assert batch.counts == (13,)


def test_pairs_are_rows_one_above_the_other(prepare):
    _, material = prepare(SCORED, "sentence_embedding")
    batch, tokenizer = batch_of(material, "held_out"), material.tokenizer
    texts = [tokenizer.decode(row.tolist()) for row in batch.inputs.tokens]
    found = list(zip(texts[:8], texts[8:], batch.targets["scores"].tolist(), strict=True))
    assert sorted(found) == sorted((r["text"], r["text_pair"], r["score"]) for r in SCORED)
    assert batch.counts == (8,)
    _, material = prepare(SIMILAR, "sentence_embedding")
    assert not batch_of(material).targets["scores"].numel()
