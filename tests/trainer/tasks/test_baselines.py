"""What is reached without a model, on small data, against numbers counted by hand."""

from __future__ import annotations

import itertools
import math
from collections import Counter

import numpy as np
import pytest
from tests.trainer.tasks.examples import PAIRS, TEXT

from tessera.trainer.tasks.counting import shift_right, unigram


def test_bigrams_of_a_text(prepare):
    task, material = prepare(TEXT, "language_modeling", "gpt", settings={"sequence_length": 16})
    found = task.baseline(material, 3)
    line = material.dataset.corpus.train.tolist()
    rows = material.dataset.rows("held_out", material.dataset.held_out(3)).tolist()
    pairs, seen = Counter(itertools.pairwise(line)), Counter(line[:-1])
    size = material.tokenizer.vocab_size
    expected = np.mean(
        [
            -math.log((pairs[a, b] + 1) / (seen[a] + size))
            for row in rows
            for a, b in itertools.pairwise(row)
        ]
    )
    assert found.loss == pytest.approx(expected)
    assert found.metrics == {"perplexity": pytest.approx(math.exp(expected))}
    assert f"{expected:.4f} nats per token" in found.text


def test_a_unigram_model_counts():
    # Of ids 0 to 3, where 0 is special: 1 twice, 2 once, 3 never.
    guess = unigram(np.array([0, 1, 2, 1, 0], dtype=np.uint8), np.array([1, 3, 1]), 4, {0})
    expected = -(2 * math.log(3 / 7) + math.log(1 / 7)) / 3
    assert guess.loss == pytest.approx(expected)
    assert guess.accuracy == pytest.approx(2 / 3)


def test_unigrams_of_hidden_tokens(prepare):
    task, material = prepare(TEXT, "masked_language_modeling")
    found, tokenizer = task.baseline(material, 0), material.tokenizer
    counts = Counter(TEXT)
    batch = material.dataset.batch("held_out", material.dataset.held_out(0))
    hidden = [tokenizer.token_text(token) for token in batch.targets["masked"].tolist()]
    total = len(TEXT) + tokenizer.vocab_size
    expected = -np.mean([math.log((counts[letter] + 1) / total) for letter in hidden])
    assert found.loss == pytest.approx(expected)
    assert found.metrics["accuracy"] == pytest.approx(hidden.count(" ") / len(hidden))


def test_unigrams_of_hidden_tokens_of_single_texts(prepare):
    task, material = prepare(
        [{"text": "aab"}, {"text": "ab"}], "masked_language_modeling", packing=False
    )
    found, size = task.baseline(material, 0), material.tokenizer.vocab_size
    # Start and end of every text are special: three times `a` and twice `b` are counted.
    batch = material.dataset.batch("held_out", material.dataset.held_out(0))
    hidden = [material.tokenizer.token_text(token) for token in batch.targets["masked"].tolist()]
    expected = -np.mean([math.log(({"a": 3, "b": 2}[x] + 1) / (5 + size)) for x in hidden])
    assert found.loss == pytest.approx(expected)
    assert found.metrics["accuracy"] == pytest.approx(hidden.count("a") / len(hidden))


def test_bigrams_of_targets_and_copies_of_sources(prepare):
    records = [{"source": "abc", "target": "abd"}, {"source": "ab", "target": "ba"}]
    task, material = prepare(records, "translation", "transformer")
    found, size = task.baseline(material, 0), material.tokenizer.vocab_size
    # Targets with their ends: "<abd>" and "<ba>"; `<` comes twice, `a` twice, `b` twice, `d` once.
    once = [2, 2, 2, 1, 2, 2, 2]
    assert found.loss == pytest.approx(np.mean([math.log((n + size) / 2) for n in once]))
    # a, b and the end of the first; none of "ba" is at its place in "ab", but the end is.
    assert found.metrics["accuracy"] == pytest.approx(4 / 7)
    table = material.dataset.tables["train"]
    line = shift_right(table, "target", material.tokenizer.start_id)
    assert material.tokenizer.decode(line.tolist()) == "abdba"
    assert line.tolist().count(material.tokenizer.start_id) == 2


def test_both_terms_of_joint_training(prepare):
    task, material = prepare(PAIRS, "joint", "bert_gpt", masked_weight=2.0, next_weight=0.5)
    found = task.baseline(material, 0)
    losses = [math.log(found.metrics[f"{name}_perplexity"]) for name in ("masked", "next")]
    assert found.loss == pytest.approx(2 * losses[0] + 0.5 * losses[1])
    assert all(f"{loss:.4f}" in found.text for loss in losses)


def test_the_most_frequent_class(prepare):
    train = [{"text": "x", "label": label} for label in "aaabc"]
    held_out = [{"text": "x", "label": label} for label in "aab"]
    task, material = prepare(train, "classification", held_out=held_out)
    found = task.baseline(material, 0)
    # Shares 4/8, 2/8 and 2/8 with one added to each count.
    assert found.loss == pytest.approx((2 * math.log(2) + math.log(4)) / 3)
    # F1 of `a` is 2 * 2 / (3 + 2), of `b` 0; `c` is in neither.
    assert found.metrics == {
        "accuracy": pytest.approx(2 / 3),
        "macro_f1": pytest.approx(0.8 / 2),
    }
    assert "always guessing `a` is right for 66.7%" in found.text


def test_what_most_texts_have_of_several_classes(prepare):
    train = [{"text": "x", "label": list(labels)} for labels in ("ab", "a", "ab", "c")]
    held_out = [{"text": "x", "label": list(labels)} for labels in ("a", "")]
    task, material = prepare(train, "classification", held_out=held_out, multi_label=True)
    found = task.baseline(material, 0)
    shares = {"a": 4 / 6, "b": 3 / 6, "c": 2 / 6}
    nats = [-math.log(shares[name] if name in said else 1 - shares[name])
            for said in ("a", "") for name in shares]  # fmt: skip
    assert found.loss == pytest.approx(np.mean(nats))
    assert found.metrics["accuracy"] == 0.5


def test_the_most_frequent_tag(prepare):
    train = [{"tokens": list("xyz"), "tags": ["O", "B-A", "O"]}]
    held_out = [{"tokens": list("xyz"), "tags": ["O", "O", "B-A"]}]
    task, material = prepare(train, "token_classification", held_out=held_out)
    found = task.baseline(material, 0)
    assert found.loss == pytest.approx(-(2 * math.log(3 / 5) + math.log(2 / 5)) / 3)
    assert found.metrics["accuracy"] == pytest.approx(2 / 3)
    assert found.metrics["span_f1"] == 0


def test_any_place_of_a_context(prepare):
    records = [
        {"question": "q", "context": "abc", "answer": "b"},
        {"question": "q", "context": "abcdefg", "answer": "g"},
    ]
    task, material = prepare(records, "question_answering")
    found = task.baseline(material, 0)
    # Four and eight places, that of no answer among them.
    assert found.loss == pytest.approx((math.log(4) + math.log(8)) / 2)
    assert found.metrics == {"exact_match": pytest.approx((1 / 16 + 1 / 64) / 2)}


def test_common_tokens(prepare):
    records = [
        {"text": "abc", "text_pair": "abd"},
        {"text": "xyz", "text_pair": "xyz"},
        {"text": "efd", "text_pair": "abc"},
    ]
    task, material = prepare(records, "sentence_embedding")
    # The first is most like the third's partner, and the third most like the first's.
    assert task.baseline(material, 0).metrics == {"accuracy": pytest.approx(1 / 3)}
    scored = [
        {**record, "score": score} for record, score in zip(records, (0.3, 0.9, 0.1), strict=True)
    ]
    task, material = prepare(scored, "sentence_embedding")
    # Of {start, end, a, b, c, d} four are common to both, then all five, then two of eight.
    x, y = [4 / 6, 1.0, 2 / 8], [0.3, 0.9, 0.1]
    found = task.baseline(material, 0).metrics["pearson"]
    assert found == pytest.approx(np.corrcoef(x, y)[0, 1], abs=1e-6)


def test_the_mean_of_scores(prepare):
    train = [{"text": "x", "score": score} for score in (0, 1, 1)]
    held_out = [{"text": "x", "score": score} for score in (1, 0.5)]
    task, material = prepare(train, "regression", held_out=held_out)
    found = task.baseline(material, 0)
    # The share of 3/5, with one added to each of two counts.
    assert found.loss == pytest.approx(-(1.5 * math.log(3 / 5) + 0.5 * math.log(2 / 5)) / 2)
    mse = ((1 - 2 / 3) ** 2 + (1 / 2 - 2 / 3) ** 2) / 2
    assert found.metrics == {"mse": pytest.approx(mse)}
    assert "always guessing 0.6667, the mean" in found.text
    far = [{**record, "score": 10 * record["score"]} for record in train]
    task, material = prepare(far, "regression", held_out=held_out)
    found = task.baseline(material, 0)
    mse = ((1 - 20 / 3) ** 2 + (1 / 2 - 20 / 3) ** 2) / 2
    assert (found.loss, found.metrics) == (pytest.approx(mse), {"mse": pytest.approx(mse)})
