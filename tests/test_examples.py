"""The examples: jobs that can be submitted, data that never changes, honest held-out parts."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tessera.spec import check, read

EXAMPLES = Path(__file__).parents[1] / "examples"


def load(name):
    """A module of the examples, as the scripts beside it import it."""
    sys.path.insert(0, str(EXAMPLES))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(EXAMPLES))


run = load("run")
NAMES = sorted(run.EXAMPLES)
WITH_DATA = sorted(name for name in NAMES if name != "gpt")
KEYS = {"pretrain": "text", "chinese": "text", "dates": "target", "numbers": "target"}


@pytest.fixture(scope="module", params=WITH_DATA)
def example(request):
    return run.EXAMPLES[request.param]


@pytest.fixture(scope="module")
def data(example):
    return example.data()


@pytest.mark.parametrize("name", NAMES)
def test_jobs(name):
    for job in run.EXAMPLES[name].jobs:
        document = read(EXAMPLES / f"{job}.yaml", ())
        check(document.spec, uploaded=False)
        assert document.spec.name == job
        assert document.spec.model.family == run.EXAMPLES[name].family


def test_every_job_belongs_to_an_example():
    jobs = {job for example in run.EXAMPLES.values() for job in example.jobs}
    assert jobs == {path.stem for path in EXAMPLES.glob("*.yaml")}


def test_the_served_model_is_trained(example):
    assert example.model in example.jobs


def test_jobs_read_what_is_written(example, data):
    written = {f"data/{example.name}/{file}" for file in data}
    for job in example.jobs:
        found = read(EXAMPLES / f"{job}.yaml", ()).spec.data
        assert written >= {*found.files, *found.validation_files}


def test_data_is_the_same_every_time(example, data):
    assert example.data() == data


def test_held_out_samples_are_not_trained_on(example, data):
    key = KEYS.get(example.name, "context")
    trained = {record[key] for record in data["train.jsonl"]}
    held_out = [record[key] for record in data["held-out.jsonl"]]
    assert len(held_out) == len(set(held_out)) >= 200
    assert trained.isdisjoint(held_out)


def test_answers_stand_in_their_stories():
    for records in run.EXAMPLES["questions"].data().values():
        for record in records:
            words = re.findall(r"\w+", record["context"])
            assert words.count(record["answer"]) == 1


def test_words_without_a_label_are_read_about():
    data = run.EXAMPLES["pretrain"].data()
    read = {word for record in data["text.jsonl"] for word in record["text"].split()}
    known, unknown = (
        {word for record in data[file] for word in record["text"].split()}
        for file in ("train.jsonl", "held-out.jsonl")
    )
    # What the two have in common are the openings, which are the same for every kind.
    assert len(unknown - known) == 6 * 16
    assert known | unknown <= read


@pytest.mark.parametrize(
    ("number", "english", "german"),
    [
        (0, "zero", "null"),
        (1, "one", "eins"),
        (21, "twenty-one", "einundzwanzig"),
        (101, "one hundred one", "einhunderteins"),
        (317, "three hundred seventeen", "dreihundertsiebzehn"),
        (1000, "one thousand", "eintausend"),
        (
            201_021,
            "two hundred one thousand twenty-one",
            "zweihunderteintausendeinundzwanzig",
        ),
        (
            999_999,
            "nine hundred ninety-nine thousand nine hundred ninety-nine",
            "neunhundertneunundneunzigtausendneunhundertneunundneunzig",
        ),
    ],
)
def test_number_words(number, english, german):
    words = load("number_words")
    assert (words.english(number), words.german(number)) == (english, german)


@given(st.integers(0, 999_999), st.integers(0, 999_999))
def test_numbers_differ_in_words(one, other):
    words = load("number_words")
    assert (one == other) == (words.english(one) == words.english(other))
    assert (one == other) == (words.german(one) == words.german(other))


@pytest.mark.parametrize(
    ("number", "text"),
    [(1, "1st"), (2, "2nd"), (3, "3rd"), (4, "4th"), (11, "11th"), (13, "13th"), (31, "31st")],
)
def test_ordinals(number, text):
    assert load("dates").ordinal(number) == text


@given(st.floats(0, 0.99), st.floats(0, 1))
def test_far_above_the_baseline(baseline, ours):
    score = load("score").Score(measure="accuracy", ours=ours, baseline=baseline, without="chance")
    assert score.good == (ours >= score.enough)
    assert score.enough - baseline == pytest.approx(1 - score.enough)


def test_a_model_that_is_no_better_fails():
    score = load("score")
    example = run.EXAMPLES["chinese"]
    poor = score.Score(measure="accuracy", ours=0.5, baseline=0.45, without="the commonest class")
    loss = score.Score(measure="loss", ours=5.0, baseline=5.1, without="bigrams", loss=True)
    fine = score.Score(measure="loss", ours=4.0, baseline=5.1, without="bigrams", loss=True)
    results = [
        run.Result(example=example, score=found, seconds=60.0) for found in (poor, loss, fine)
    ]
    sentences = run.failures(results)
    assert len(sentences) == 2
    assert "50.0%" in sentences[0]
    assert "5.000 nats" in sentences[1]
    header, *rows = run.table(results).splitlines()
    assert header.split() == ["EXAMPLE", "FAMILY", "TASK", "MEASURE", "OURS", "BASELINE", "MINUTES"]
    assert rows[0].split()[:3] == ["chinese", "bert", "classification"]


@pytest.mark.parametrize(
    ("served", "said"), [(True, "Served, on what"), (False, "Measured by its job, on what")]
)
def test_whose_measure_it_is_is_told(served, said, capsys):
    score = load("score").Score(
        measure="loss", ours=4.0, baseline=5.1, without="bigrams", loss=True, served=served
    )
    run.tell(run.Result(example=run.EXAMPLES["gpt"], score=score, seconds=60.0))
    assert said in capsys.readouterr().out
