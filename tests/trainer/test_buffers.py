"""Persistent buffers are committed, agreed on by the ranks, and gone on with bit for bit."""

from __future__ import annotations

import json

import buffered
import pytest
import torch
from versions import read

from tessera.weights.coordinator import Coordinator

pytestmark = pytest.mark.processes


@pytest.fixture(scope="module", autouse=True)
def registered():
    buffered.register()
    yield
    buffered.forget()


@pytest.fixture(scope="module")
def classes(tmp_path_factory):
    """Texts of two classes."""
    path = tmp_path_factory.mktemp("classes") / "classes.jsonl"
    nouns = ("cat", "dog", "hen", "fox", "owl", "cow")
    rows = [
        {
            "text": f"{one} {other}" * (1 + at % 3),
            "label": "bird" if "hen" in {one, other} else "no",
        }
        for at, (one, other) in enumerate((a, b) for a in nouns for b in nouns)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows * 3))
    return path


def told(platform, ranks, classes, name, attempt, **changes):
    """What the ranks of an attempt are told."""
    base = ranks.spec(
        classes.parent,
        name=name,
        train={"grad_accumulation": 2},
        publish={"every": 3, "keep": 9},
        **changes,
    )
    base["model"] = {"family": buffered.NAME, "layers": 1, "heads": 2, "width": 32, "context": 32}
    base["task"] = {"kind": buffered.TASK}
    base["data"] = {"files": [str(classes)], "columns": {"text": "text", "label": "label"}}
    return {
        "spec": base,
        "store": platform.store(name, attempt, spec=base),
        "toys": ["buffered"],
    }


def versions_of(platform, name, result):
    """The manifest, and the bytes of its tensors, of every version."""
    token = platform.token
    coordinator = Coordinator(platform.address, token)
    numbers = [event["version"] for event in result.events("version")]
    return [read(coordinator, token, name, version=number) for number in numbers]


@pytest.mark.parametrize("strategy", ["fsdp", "ddp"])
def test_buffers_go_on_bit_for_bit(strategy, platform, classes, tmp_path, ranks):
    parallel = {"strategy": strategy}

    def run(name, attempt, **more):
        name = f"{name}-{strategy}"
        spoken = told(platform, ranks, classes, name, attempt, parallel=parallel)
        return ranks.run({**spoken, **more}, tmp_path / f"{name}-{attempt}")

    whole = run("buffers", 1)
    assert whole.lead.get("finished"), whole.output
    first = run("hurt-buffers", 1, kill={"rank": 1, "step": 5, "durable": 3})
    assert first.ranks[1] is None
    again = run("hurt-buffers", 2)
    assert again.lead.get("finished"), again.output
    resumed = again.events("resume")[0]["step"]
    assert resumed in {3, 6}
    assert again.losses == {step: whole.losses[step] for step in range(resumed + 1, 13)}
    held = [v["held_out_loss"] for _, v in whole.lead["metrics"] if "held_out_loss" in v]
    assert [v["held_out_loss"] for _, v in again.lead["metrics"] if "held_out_loss" in v] == held
    assert again.events("digests")[0]["digests"] == whole.events("digests")[0]["digests"]
    found = versions_of(platform, f"buffers-{strategy}", whole)
    check(found)
    theirs = versions_of(platform, f"hurt-buffers-{strategy}", again)[-1][1]
    assert theirs.keys() == found[-1][1].keys()
    for name in buffered.NAMES:
        assert theirs[name].tobytes() == found[-1][1][name].tobytes()


def check(found):
    """Every buffer is kept once, in its own element type, and moves from version to version."""
    manifest, last = found[-1]
    model = manifest.group("model")
    kept = {name: spec.dtype for name, spec in model.items() if name in buffered.NAMES}
    assert kept == buffered.NAMES
    assert {"heads.classes.twin", "heads.classes.scale"}.isdisjoint(model)
    assert not [n for n in manifest.group("optimizer") if n.partition("/")[2] in buffered.NAMES]
    for name in buffered.NAMES:
        index = manifest.index("model", name)
        pieces = [piece.box for piece in manifest.slices if piece.tensor == index]
        assert sum(box.elements for box in pieces) == manifest.tensors[index].box.elements
        moves = len({content[name].tobytes() for _, content in found})
        assert (moves > 1) == bool(manifest.tensors[index].size), name
    # A version every 3 steps of 2 micro-batches; those of the other rank are not counted.
    counted = [int(c["heads.classes.norm.num_batches_tracked"].view("i8")[0]) for _, c in found]
    assert counted == [6, 12, 18, 24]
    assert last["heads.classes.seen"].any()


def test_one_rank_goes_on_from_two(platform, classes, tmp_path, ranks):
    """The buffers of a version are those of rank 0, and any layout takes them up."""
    spoken = told(platform, ranks, classes, "fewer-buffers", 1)
    kill = {"rank": 1, "step": 7, "durable": 6}
    first = ranks.run({**spoken, "kill": kill}, tmp_path / "first")
    assert first.ranks[1] is None
    alone = told(platform, ranks, classes, "fewer-buffers", 2, resources={"workers": 1})
    again = ranks.run(alone, tmp_path / "again")
    assert again.lead.get("finished"), again.output
    (_, last) = versions_of(platform, "fewer-buffers", again)[-1]
    assert int(last["heads.classes.norm.num_batches_tracked"].view("i8")[0]) == 24


def test_a_warm_start_takes_buffers(platform, classes, tmp_path, ranks):
    base = told(platform, ranks, classes, "old-buffers", 1, resources={"workers": 1})
    old = ranks.run(base, tmp_path / "old")
    assert old.lead.get("finished"), old.output
    warm = told(platform, ranks, classes, "warm-buffers", 1, resources={"workers": 1})
    warm["spec"]["model"] = {"family": buffered.NAME, "init": {"from": "old-buffers"}}
    warm["spec"]["train"].update(steps=1, warmup_steps=0, eval_every=1)
    warm["store"] = platform.store("warm-buffers", 1, spec=warm["spec"])
    found = ranks.run(warm, tmp_path / "warm")
    assert found.lead.get("finished"), found.output
    [event] = found.events("init")
    assert event["fresh"] == []
    (_, last) = versions_of(platform, "warm-buffers", found)[-1]
    assert int(last["heads.classes.norm.num_batches_tracked"].view("i8")[0]) == 26
    assert torch.isfinite(torch.from_numpy(last["heads.classes.total"].view("f8"))).all()
