"""What is wrong with data is said with its file and line, and with what to do."""

from __future__ import annotations

import pytest
from tests.trainer.tasks.examples import ANSWERS, CLASSES, JUDGED, SCORED, STARS, TAGS, TEXT

from tessera import errors

CASES = [
    (
        "classification",
        [*CLASSES, {"text": "x", "label": ["big", "small"]}],
        {},
        ("DATA_SEVERAL_LABELS", "data.columns.label", "train.jsonl:9: 2 classes"),
    ),
    (
        "sentiment",
        [*CLASSES, {"text": "x", "label": "huge"}],
        {"labels": ("big", "small")},
        ("DATA_UNKNOWN_LABEL", "data.columns.label", "train.jsonl:9: there is no class `huge`"),
    ),
    (
        "token_classification",
        [*TAGS, {"tokens": ["a"], "tags": ["X"]}],
        {"labels": ("O", "B-ANIMAL", "B-NAME", "I-NAME")},
        ("DATA_UNKNOWN_LABEL", "data.columns.tags", "train.jsonl:9: there is no class `X`"),
    ),
    (
        "token_classification",
        [*TAGS, {"tokens": ["a", "b"], "tags": ["O"]}],
        {},
        ("DATA_VALUE", "data.columns.tags", "train.jsonl:9: 2 tokens, but 1 tags"),
    ),
    (
        "classification",
        CLASSES[::2],
        {},
        ("DATA_ONE_LABEL", "data.columns.label", "one class, `small`"),
    ),
    (
        "question_answering",
        [*ANSWERS, {"question": "?", "context": "a b", "answer": "c"}],
        {},
        ("DATA_ANSWER_NOT_IN_CONTEXT", "data.columns.answer", "train.jsonl:9: the answer `c`"),
    ),
    (
        "question_answering",
        [*ANSWERS, {"question": "?", "context": "a b", "answer": "b", "answer_start": 1}],
        {},
        ("DATA_ANSWER_NOT_IN_CONTEXT", "data.columns.answer", "train.jsonl:9: the answer `b`"),
    ),
    (
        "question_answering",
        [{"question": "?", "context": "a b", "answers": "b"}] * 2,
        {},
        ("DATA_NO_ANSWER", "data.columns.answer", "no training record has an answer"),
    ),
    (
        "sentence_embedding",
        [*SCORED, {"text": "a", "text_pair": "b"}],
        {},
        ("DATA_SCORE", "data.columns.score", "train.jsonl:9: no score"),
    ),
    (
        "sentence_embedding",
        [*SCORED, {"text": "a", "text_pair": "b", "score": 4}],
        {},
        ("DATA_SCORE", "data.columns.score", "train.jsonl:9: a score of 4.0"),
    ),
    (
        "regression",
        [*STARS, {"text": "a", "score": "much"}],
        {},
        ("DATA_VALUE", "data.columns.score", "train.jsonl:9: the score is 'much' where a number"),
    ),
    (
        "regression",
        [*STARS, {"text": "a", "score": -1e30}],
        {},
        ("DATA_SCORE", "data.columns.score", "train.jsonl:9: a score of -1e+30"),
    ),
    (
        "regression",
        JUDGED[::2],
        {},
        ("DATA_SCORE", "data.columns.score", "all 8 records have the score 0.0"),
    ),
    (
        "translation",
        [{"source": "a", "target": "b" * 32}] * 2,
        {},
        ("DATA_TOO_LONG", "data.files", "every target has more than 31 tokens"),
    ),
]


@pytest.mark.parametrize(("kind", "records", "choices", "expected"), CASES)
def test_wrong_records(prepare, kind, records, choices, expected):
    family = "transformer" if kind == "translation" else "bert"
    with pytest.raises(errors.InvalidArgumentError) as caught:
        prepare(records, kind, family, **choices)
    reason, field, words = expected
    assert caught.value.reason == reason
    assert [found.field for found in caught.value.violations] == [field]
    assert words in caught.value.violations[0].description


def test_a_held_out_class_that_training_does_not_know(prepare):
    with pytest.raises(
        errors.InvalidArgumentError,
        match=r"held.jsonl:1: there is no class `huge`; there are `big`",
    ):
        prepare(CLASSES, "sentiment", held_out=[{"text": "x", "label": "huge"}])


@pytest.mark.parametrize(
    ("kind", "family", "records"),
    [
        ("classification", "bert", CLASSES),
        ("regression", "bert", JUDGED),
        ("question_answering", "bert", ANSWERS),
        ("joint", "bert_gpt", TEXT),
        ("masked_language_modeling", "bert", TEXT),
    ],
)
def test_sequences_that_hold_nothing(prepare, kind, family, records):
    with pytest.raises(errors.InvalidArgumentError) as caught:
        prepare(records, kind, family, settings={"sequence_length": 2})
    assert caught.value.reason == "SEQUENCE_TOO_SHORT"
    assert caught.value.violations[0].field == "train.sequence_length"
