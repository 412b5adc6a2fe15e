"""A run that was killed goes on as if nothing had happened."""

from __future__ import annotations

import numpy as np
import pytest
import xxhash

from tessera.weights.box import Box
from tessera.weights.coordinator import Coordinator
from tessera.weights.pull import Want, pull

pytestmark = pytest.mark.processes


def reader(platform):
    token = platform.token
    return Coordinator(platform.address, token), token


@pytest.fixture(scope="module")
def whole(platform, texts, tmp_path_factory, ranks):
    """A run that nobody disturbed."""
    told = {"spec": ranks.spec(texts, name="whole"), "store": platform.store("whole", 1)}
    return ranks.run(told, tmp_path_factory.mktemp("whole") / "out")


def test_a_run_ends_with_a_version_and_learns(whole, platform):
    assert whole.lead["finished"], whole.output
    assert [event["step"] for event in whole.events("version")] == [4, 8, 12]
    assert whole.losses[12] < whole.losses[1] - 0.1
    assert whole.events("baseline")[0]["baseline_loss"] > 0
    coordinator, _ = reader(platform)
    manifest = coordinator.get_manifest("default/whole")
    assert manifest.version.number == whole.lead["version"]
    assert manifest.version.step == 12
    assert set(manifest.assets) == {"config.json", "tokenizer.json", "job.json"}
    names = set(manifest.group("model"))
    assert {f"exp_avg/{name}" for name in names} < set(manifest.group("optimizer"))
    assert {"trainer", "rank-0/torch", "rank-1/torch"} < set(manifest.group("state"))


def test_the_live_tensors_hash_to_what_a_reader_pulls(whole, platform):
    coordinator, token = reader(platform)
    manifest = coordinator.get_manifest("default/whole", groups=["model"])
    digests = whole.events("digests")[0]["digests"]
    assert {digest["tensor"] for digest in digests} == set(manifest.group("model"))
    assert len(digests) > len(manifest.group("model"))
    for digest in digests:
        box = Box(tuple(digest["offsets"]), tuple(digest["extents"]))
        out = np.empty(box.elements * 4, dtype=np.uint8)
        pull(manifest, [Want(group="model", name=digest["tensor"], box=box, out=out)], token)
        assert f"{xxhash.xxh3_64_intdigest(out.data):016x}" == digest["checksum"]


@pytest.mark.parametrize("rank", [pytest.param(0, marks=pytest.mark.slow), 1])
def test_a_killed_rank_costs_no_bit(  # noqa: PLR0917 - fixtures
    rank, whole, platform, texts, tmp_path, ranks
):
    job = f"killed-{rank}"
    told = {"spec": ranks.spec(texts, name=job), "store": platform.store(job, 1)}
    first = ranks.run({**told, "kill": {"rank": rank, "step": 7, "durable": 4}}, tmp_path / "first")
    assert first.ranks[rank] is None
    survivor = first.ranks[1 - rank]
    assert (survivor["category"], survivor["collateral"]) == ("WORKER_LOST", True)

    again = ranks.run({**told, "store": platform.store(job, 2)}, tmp_path / "again")
    assert again.lead["finished"], again.output
    resume = again.events("resume")[0]
    assert resume["step"] == 4
    coordinator, _ = reader(platform)
    manifest = coordinator.get_manifest(f"default/{job}", resume["version"], ["optimizer"])
    kept = {
        (manifest.tensors[s.tensor].name, s.box.offsets, s.box.extents, f"{s.checksum:016x}")
        for s in manifest.slices
    }
    assert kept == {
        (d["tensor"], tuple(d["offsets"]), tuple(d["extents"]), d["checksum"])
        for d in resume["digests"]
    }
    assert again.losses == {step: whole.losses[step] for step in range(5, 13)}
    assert again.events("digests")[0]["digests"] == whole.events("digests")[0]["digests"]


def test_another_number_of_ranks_goes_on_too(platform, texts, tmp_path, ranks):
    changes = {"model": {"dropout": 0.0}}
    two = ranks.spec(texts, name="shrunk", **changes)
    alone = ranks.spec(texts, name="shrunk", resources={"workers": 1}, **changes)
    first = ranks.run(
        {
            "spec": two,
            "store": platform.store("shrunk", 1),
            "kill": {"rank": 1, "step": 9, "durable": 8},
        },
        tmp_path / "first",
    )
    assert first.ranks[1] is None
    again = ranks.run({"spec": alone, "store": platform.store("shrunk", 2)}, tmp_path / "again")
    assert again.lead["finished"], again.output
    # The yardstick cuts its batch into four: that must change nothing either.
    alone["train"]["grad_accumulation"] = 4
    reference = ranks.run({"spec": alone}, tmp_path / "reference")
    assert set(again.losses) == {9, 10, 11, 12}
    for step, loss in again.losses.items():
        assert loss == pytest.approx(reference.losses[step], rel=2e-4)


def test_epochs_are_the_same_steps_on_any_number_of_ranks(whole, platform, texts, tmp_path, ranks):
    """A run that is told in epochs, killed and taken up, is the one that is told in steps."""
    told = ranks.spec(texts, name="epochs")
    for name in ("steps", "eval_every"):
        del told["train"][name]
    # 263 windows are 32.9 steps: 12 steps, an evaluation after 6, a version after 4 and 8.
    told["train"].update(epochs=0.36, eval_every_epochs=0.18)
    told["publish"] = {"every_epochs": 0.12}

    def run(attempt, **changes):
        store = platform.store("epochs", attempt)
        return ranks.run({"spec": told, "store": store, **changes}, tmp_path / f"out{attempt}")

    first = run(1, kill={"rank": 1, "step": 7, "durable": 4})
    again = run(2, kill={"rank": 1, "step": 10, "durable": 8})
    assert [event["step"] for event in again.events("resume")] == [4], again.output
    told["resources"] = {"workers": 1}
    last = run(3)
    assert last.lead["finished"], last.output
    assert [event["step"] for event in last.events("resume")] == [8]
    [counted] = whole.events("data")
    assert (counted["steps"], counted["examples"]) == (12, 263)
    assert last.events("data") == [counted]
    assert set(last.losses) == {9, 10, 11, 12}
    wanted = curve(whole)
    for part in (first, again):
        assert curve(part) == {at: wanted[at] for at in curve(part)}
    assert (6, "held_out_loss") in curve(first)


def test_a_warm_start_takes_weights_and_tokenizer(whole, platform, texts, tmp_path, ranks):
    train = {"lr": 1e-9, "min_lr": 0, "steps": 1, "warmup_steps": 0}
    warm = ranks.spec(texts, name="warm", train=train, resources={"workers": 1})
    warm["model"] = {"family": "gpt", "init": {"from": f"whole@{whole.lead['version']}"}}
    result = ranks.run(
        {"spec": warm, "store": platform.store("warm", 1, spec=warm)}, tmp_path / "out"
    )
    assert result.lead["finished"], result.output
    held_out = [v["held_out_loss"] for _, v in whole.lead["metrics"] if "held_out_loss" in v]
    found = [v["held_out_loss"] for _, v in result.lead["metrics"] if "held_out_loss" in v]
    assert found[-1] == pytest.approx(held_out[-1], abs=1e-4)
    coordinator, _ = reader(platform)
    ours = coordinator.get_manifest("default/warm").assets["tokenizer.json"]
    assert ours == coordinator.get_manifest("default/whole").assets["tokenizer.json"]


@pytest.mark.parametrize(
    ("model", "reason", "field"),
    [
        ({"family": "gpt", "width": 64, "init": {"from": "whole"}}, "INIT_MISMATCH", "model.width"),
        ({"family": "gpt", "init": {"from": "absent@7"}}, "INIT_NOT_FOUND", "model.init.from"),
    ],
)
def test_a_warm_start_that_cannot_be(  # noqa: PLR0917 - fixtures
    model, reason, field, whole, platform, texts, tmp_path, ranks
):
    name = f"warm-{reason.lower().replace('_', '-')}"
    told = ranks.spec(texts, name=name, resources={"workers": 1})
    told["model"] = model
    result = ranks.run(
        {"spec": told, "store": platform.store(name, 1, spec=told)}, tmp_path / "out"
    )
    assert (result.lead["category"], result.lead["reason"]) == ("USER", reason)
    assert result.lead["message"].startswith(f"{field}: ")


def test_an_older_attempt_is_fenced(platform, texts, tmp_path, ranks):
    told = ranks.spec(texts, name="fenced", train={"steps": 4}, resources={"workers": 1})
    newer = ranks.run({"spec": told, "store": platform.store("fenced", 2)}, tmp_path / "newer")
    assert newer.lead["finished"], newer.output
    older = ranks.run({"spec": told, "store": platform.store("fenced", 1)}, tmp_path / "older")
    assert older.lead["reason"] in {"FENCED", "ATTEMPT_FENCED"}


@pytest.mark.parametrize("strategy", ["fsdp", pytest.param("ddp", marks=pytest.mark.slow)])
def test_orders_are_taken_at_a_step_boundary(strategy, platform, texts, tmp_path, ranks):
    name = f"ordered-{strategy}"
    told = ranks.spec(texts, name=name, parallel={"strategy": strategy}, publish={"every": 0})
    order = {"step": 3, "checkpoints": 1, "stop": False}
    result = ranks.run(
        {"spec": told, "store": platform.store(name, 1, spec=told), "order": order},
        tmp_path / "asked",
    )
    # The ranks agree on it during the next step.
    assert [event["step"] for event in result.events("version")] == [4, 12]
    order = {"step": 5, "checkpoints": 0, "stop": True}
    store = platform.store(f"{name}-stopped", 1)
    told = {**told, "publish": {"every": 0, "set": f"{name}-stopped"}}
    stopped = ranks.run({"spec": told, "store": store, "order": order}, tmp_path / "stopped")
    assert stopped.lead["finished"] is False
    assert [event["step"] for event in stopped.events("version")] == [6]


WORDS = {"one": "eins", "two": "zwei", "three": "drei", "four": "vier", "five": "fünf"}

FAMILIES = {
    # The encoder is frozen up to step 6: one kill comes before that, one after it.
    "bert_gpt": {"tuning": {"freeze": ["encoder"], "freeze_steps": 6}},
    "bert": {},
    "transformer": {"tokenizer": {"kind": "wordpiece", "vocab_size": 80}},
}


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """Numbers in two languages, line by line."""
    folder = tmp_path_factory.mktemp("pairs")
    words = list(WORDS)
    lines = [[words[(at * at + i) % 5] for i in range(1 + at % 7)] for at in range(120)]
    (folder / "en.txt").write_text("".join(" ".join(line) + "\n" for line in lines))
    translated = (" ".join(WORDS[word] for word in line) for line in lines)
    (folder / "de.txt").write_text("".join(line + "\n" for line in translated))
    return {"files": [f"{folder}/en.txt"], "target_files": [f"{folder}/de.txt"]}


@pytest.mark.parametrize(
    "family",
    [
        "bert_gpt",
        pytest.param("bert", marks=pytest.mark.slow),
        pytest.param("transformer", marks=pytest.mark.slow),
    ],
)
def test_every_family_goes_on_bit_for_bit(  # noqa: PLR0917 - fixtures
    family, platform, texts, pairs, tmp_path, ranks
):
    def told(name, attempt):
        spec = ranks.spec(
            texts,
            name=f"{name}-{family}".replace("_", "-"),
            model={"family": family},
            publish={"every": 3, "keep": 9},
            **FAMILIES[family],
        )
        if family == "transformer":
            spec["data"] = pairs
        return {"spec": spec, "store": platform.store(spec["name"], attempt, spec=spec)}

    reference = ranks.run(told("reference", 1), tmp_path / "reference")
    assert reference.lead["finished"], reference.output
    kill = {"rank": 1, "step": 4, "durable": 3}
    first = ranks.run({**told("hurt", 1), "kill": kill}, tmp_path / "first")
    assert first.ranks[1] is None
    kill |= {"step": 10, "durable": 9}
    second = ranks.run({**told("hurt", 2), "kill": kill}, tmp_path / "second")
    assert [event["step"] for event in second.events("resume")] == [3], second.output
    third = ranks.run(told("hurt", 3), tmp_path / "third")
    assert third.lead["finished"], third.output
    assert [event["step"] for event in third.events("resume")] == [9]
    wanted = curve(reference)
    for part in (first, second, third):
        assert {at: wanted[at] for at in curve(part)} == curve(part)
    assert set(curve(first)) | set(curve(second)) | set(curve(third)) == set(wanted)
    assert third.events("digests")[0]["digests"] == reference.events("digests")[0]["digests"]
    if family == "bert_gpt":
        check_stages(reader(platform)[0], reference)


def curve(result):
    """What was measured by step and name, but for the speed."""
    return {
        (step, name): value
        for step, values in result.lead["metrics"]
        for name, value in values.items()
        if name not in {"tokens_per_second", "commit_seconds", "stalled_seconds"}
    }


def check_stages(coordinator, result):
    """The encoder stands still in the first stage, and moves in the second."""
    versions = [event["version"] for event in result.events("version")]
    sums = []
    for version in versions:
        manifest = coordinator.get_manifest("default/reference-bert-gpt", version, ["model"])
        sums.append({
            (manifest.tensors[s.tensor].name, s.box.offsets): s.checksum for s in manifest.slices
        })  # fmt: skip
    encoder = [key for key in sums[0] if key[0].startswith("trunk.encoder.")]
    decoder = [key for key in sums[0] if key[0].startswith("trunk.decoder.")]
    assert all(sums[0][key] == sums[1][key] for key in encoder)
    assert all(sums[0][key] != sums[1][key] for key in decoder)
    assert all(sums[1][key] != sums[2][key] for key in encoder)
