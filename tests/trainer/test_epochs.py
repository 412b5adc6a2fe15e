"""Runs that are as long as so many epochs: what they count, and what they tell of it."""

from __future__ import annotations

import json
import random

import pytest
from google.protobuf import json_format

from tessera.api.controller.v1.spec_pb2 import JobSpec
from tessera.spec import resolve

pytestmark = pytest.mark.processes

TRAIN, HELD_OUT = 50, 11


@pytest.fixture(scope="module")
def lines(tmp_path_factory):
    """Files of labelled lines, to train on and to evaluate on."""
    folder = tmp_path_factory.mktemp("lines")
    for name, count in (("train", TRAIN), ("held", HELD_OUT)):
        rows = [
            {"text": f"{word} value {at}", "label": "yes" if word == "def" else "no"}
            for at, word in zip(range(count), ("def", "import", "return") * count, strict=False)
        ]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {
        "files": [str(folder / "train.jsonl")],
        "validation_files": [str(folder / "held.jsonl")],
    }


def job(name, data, *, train=(), **sections):
    return {
        "name": name,
        "model": {"family": "bert", "layers": 1, "heads": 2, "width": 16, "context": 16},
        "task": {"kind": "classification"},
        "tokenizer": {"vocab_size": 300},
        "data": data,
        "train": {"epochs": 2, "batch_size": 8, "eval_batches": 1, "log_every": 1, **dict(train)},
        **sections,
    }


@pytest.fixture(scope="module")
def counted(alone, lines):
    spec = job("counted", lines, train={"eval_every_epochs": 1}, publish={"every_epochs": 1})
    result = alone.run(spec)
    assert result.lead.get("finished"), result.lead
    return result


def test_the_examples_are_counted_and_told(counted):
    [event] = counted.events("data")
    assert event == {
        "examples": TRAIN,
        "held_out_examples": HELD_OUT,
        "steps_per_epoch": 6.25,
        "steps": 13,
        "epochs": 13 * 8 / TRAIN,
    }
    progress = counted.lead["progress"]
    assert (progress["step"], progress["total_steps"]) == (13, 13)
    assert (progress["examples"], progress["held_out_examples"]) == (TRAIN, HELD_OUT)
    assert (progress["steps_per_epoch"], progress["epoch"]) == (6.25, 2.08)
    steps = [step for step, values in counted.lead["metrics"] if "loss" in values]
    assert steps == list(range(1, 14))
    for step, values in counted.lead["metrics"]:
        if not {"commit_seconds", "stalled_seconds"} & values.keys():
            assert values["epoch"] == step * 8 / TRAIN


def test_the_last_evaluation_looks_at_everything_and_says_so(counted, alone):
    seen = {
        step: values["held_out_examples"]
        for step, values in counted.lead["metrics"]
        if "held_out_loss" in values
    }
    assert seen == {7: 8, 13: HELD_OUT}
    assert counted.lead["progress"]["evaluated_examples"] == HELD_OUT
    assert [event["step"] for event in counted.events("version")] == [7, 13]
    for number, examples in ((1, 8), (2, HELD_OUT)):
        labels = alone.version("counted", number)[0].version.labels
        assert labels["held_out_examples"] == str(examples)
    # What it is compared with is right or wrong on the same examples.
    [baseline] = counted.events("baseline")
    guessed = round(baseline["metrics"]["accuracy"] * HELD_OUT, 9)
    assert guessed == int(guessed)


def test_a_run_whose_last_version_is_there_ends_well(counted, alone, lines):
    spec = job("counted", lines, train={"eval_every_epochs": 1}, publish={"every_epochs": 1})
    again = alone.run(spec, attempt=2)
    assert (again.lead["finished"], again.lead["version"]) == (True, counted.lead["version"])
    assert again.events("digests") == counted.events("digests")
    assert again.events("version") == again.events("resume") == []
    assert again.lead["progress"]["total_steps"] == 13


def test_packed_text_counts_windows(alone, texts):
    spec = job("windows", {"files": [f"{texts}/*.py"]}, train={"epochs": 0.1})
    spec.update(model={"family": "gpt", "layers": 1, "heads": 2, "width": 16, "context": 32})
    del spec["task"]
    result = alone.run(spec)
    assert result.lead.get("finished"), result.lead
    [event] = result.events("data")
    assert event["steps"] == -(-event["examples"] // 80)
    tokens = event["examples"] * 32
    assert tokens > 5000


@pytest.mark.parametrize(
    ("changes", "reason", "field"),
    [
        ({"train": {"warmup_steps": 14}}, "WARMUP_LONGER_THAN_STEPS", "train.warmup_steps"),
        (
            {"tuning": {"freeze": ["encoder"], "freeze_steps": 14}},
            "FREEZE_STEPS",
            "tuning.freeze_steps",
        ),
    ],
)
def test_what_cannot_be_is_told_once_the_steps_are_known(changes, reason, field, alone, lines):
    result = alone.run(job(f"wrong-{reason.lower()}".replace("_", "-"), lines, **changes))
    assert result.lead["reason"] == reason
    assert result.lead["message"].startswith(f"{field}: ")
    assert "13" in result.lead["message"]
    assert result.events("version") == []


ENDLESS = """
class Endless:
    def __init__(self, context):
        self.inner = context.dataset
        self.batch, self.held_out = self.inner.batch, self.inner.held_out

    def train(self, samples, count):
        return self.inner.train(samples, count)

class Own:
    def __init__(self, context):
        self.dataset = Endless(context)
"""


def test_a_data_set_without_an_end(alone, lines, tmp_path):
    (tmp_path / "endless_own.py").write_text(ENDLESS)
    own = {"entrypoint": "endless_own:Own", "code": str(tmp_path / "endless_own.py")}
    refused = alone.run(job("endless", lines, **own))
    assert refused.lead["reason"] == "EPOCHS_UNKNOWN"
    spec = job("endless", lines, **own)
    del spec["train"]["epochs"]
    spec["train"]["steps"] = 3
    result = alone.run(spec)
    assert result.lead.get("finished"), result.lead
    [event] = result.events("data")
    assert (event["steps"], event["examples"], event["epochs"]) == (3, 0, None)
    assert result.lead["progress"]["epoch"] is None
    assert not any("epoch" in values for _, values in result.lead["metrics"])


NARROW = """
class Narrow:
    def __init__(self, context):
        self.inner, self.dataset = context.dataset, self
        self.train, self.held_out = self.inner.train, self.inner.held_out
        self.examples = self.inner.examples

    def batch(self, split, keys):
        if len(keys) > 2:
            raise MemoryError(f"{len(keys)} rows of {split} at once")
        return self.inner.batch(split, keys)
"""


def test_an_evaluation_takes_no_more_rows_at_once_than_training(alone, lines, tmp_path):
    (tmp_path / "narrow_own.py").write_text(NARROW)
    own = {"entrypoint": "narrow_own:Narrow", "code": str(tmp_path / "narrow_own.py")}
    result = alone.run(job("narrow", lines, train={"grad_accumulation": 4}, **own))
    assert result.lead.get("finished"), result.lead


TOPICS = {
    "sports": ("ball", "goal", "team", "match"),
    "tech": ("chip", "code", "cloud", "phone"),
    "money": ("bank", "stock", "rate", "bond"),
}


@pytest.mark.slow
def test_a_fine_tuning_that_states_nothing_learns_from_few_examples(alone, tmp_path):
    draw = random.Random(1)
    path, names = tmp_path / "topics.jsonl", list(TOPICS)
    topics = draw.choices(names, k=400)
    rows = [
        {"text": " ".join(draw.choices((*TOPICS[topic], "the", "a", "new"), k=6)), "label": topic}
        for topic in topics
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    first = job("first", {"files": [str(path)]}, train={"epochs": 8}, publish={"every": 0})
    first["task"] = {"kind": "masked_language_modeling", "packing": False}
    first["model"].update(layers=2, width=64)
    assert alone.run(first).lead.get("finished")
    plain = {
        "name": "plain",
        "model": {"family": "bert", "init": {"from": "first"}},
        "task": {"kind": "classification"},
        "data": {"files": [str(path)], "held_out": 0.25},
    }
    # As the controller does, which looks the width up.
    spec = resolve(json_format.ParseDict(plain, JobSpec()), width=64)
    result = alone.run(json_format.MessageToDict(spec, preserving_proto_field_name=True))
    assert result.lead.get("finished"), result.lead
    progress = result.lead["progress"]
    assert progress["total_steps"] == 500
    assert progress["metrics"]["accuracy"] > 0.9
