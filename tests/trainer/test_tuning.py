"""Runs that begin with committed versions, and of which only a part learns."""

from __future__ import annotations

import json

import pytest
import torch

from tessera.models.inputs import Inputs
from tessera.trainer.versions import publish

pytestmark = pytest.mark.processes

SIZES = {"layers": 1, "heads": 2, "width": 16, "ff_width": 32, "context": 32, "dropout": 0.1}
TRAIN = {
    "steps": 3,
    "batch_size": 4,
    "log_every": 1,
    "eval_every": 3,
    "eval_batches": 2,
    "lr": 0.05,
    "weight_decay": 0.3,
}


def job(name, family, files, *, train=(), **sections):
    return {
        "name": name,
        "model": {"family": family, **SIZES},
        "tokenizer": {"vocab_size": 300},
        "data": {"files": files},
        "train": {**TRAIN, **dict(train)},
        "publish": {"every": 0},
        **sections,
    }


@pytest.fixture(scope="module")
def text(texts):
    return [f"{texts}/*.py"]


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    """Lines of code, and whether they define something."""
    path = tmp_path_factory.mktemp("records") / "lines.jsonl"
    rows = [
        {"text": f"{word} value self", "label": "yes" if word in {"def", "class"} else "no"}
        for word in ("def", "import", "class", "return") * 12
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return [str(path)]


@pytest.fixture(scope="module")
def bert(alone, text):
    """A pre-trained encoder."""
    result = alone.run(job("bert", "bert", text))
    assert result.lead["finished"], result.lead
    return result


@pytest.fixture(scope="module")
def gpt(alone, bert, text, tmp_path_factory):
    """A pre-trained decoder that has the encoder's tokenizer."""
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    path.write_bytes(alone.version("bert")[0].assets["tokenizer.json"])
    result = alone.run(job("gpt", "gpt", text, tokenizer={"path": str(path)}))
    assert result.lead["finished"], result.lead
    return result


@pytest.fixture(scope="module")
def classes(alone, bert, records):
    """A classifier on top of the encoder, which does not learn."""
    return tuned(alone, "classes", records, "fsdp")


def tuned(alone, name, files, strategy, tuning=None, *, init="bert", publish=None, **train):
    spec = job(
        name,
        "bert",
        files,
        train=train,
        task={"kind": "classification"},
        tuning=tuning or {"method": "frozen"},
        parallel={"strategy": strategy},
    )
    spec["model"] = {"family": "bert", "init": {"from": init}}
    del spec["tokenizer"]
    spec["publish"] = publish or spec["publish"]
    result = alone.run(spec)
    assert result.lead["finished"], result.lead
    return result


@pytest.mark.parametrize("strategy", ["fsdp", "ddp"])
def test_a_frozen_trunk_keeps_every_bit(strategy, alone, classes, records):
    name = "classes" if strategy == "fsdp" else "classes-ddp"
    if strategy == "ddp":
        tuned(alone, name, records, strategy)
    _, _, before = alone.version("bert")
    manifest, config, after = alone.version(name)
    trunk = [weight for weight in after if weight.startswith("trunk.")]
    assert all(torch.equal(before[weight], after[weight]) for weight in trunk)
    heads = after.keys() - set(trunk)
    assert {state.partition("/")[2] for state in manifest.group("optimizer")} == heads
    assert config.task.labels == ("no", "yes")


def test_what_does_not_learn_is_sent_once(alone, bert, records, monkeypatch):
    """The trunk, which every version of the run has."""
    reports, push = [], publish.push

    def told(*args, **kwargs):
        reports.append(push(*args, **kwargs))
        return reports[-1]

    monkeypatch.setattr(publish, "push", told)
    tuned(alone, "frozen-once", records, "fsdp", publish={"every": 1})
    assert len(reports) == TRAIN["steps"]
    _, _, weights = alone.version("frozen-once")
    trunk = sum(w.nbytes for name, w in weights.items() if name.startswith("trunk."))
    assert reports[0].sent == reports[0].size
    assert all(report.sent <= report.size - trunk for report in reports[1:])
    _, _, before = alone.version("bert")
    assert all(
        torch.equal(before[name], weight)
        for name, weight in weights.items()
        if name.startswith("trunk.")
    )


def test_what_begins_at_random_is_told(classes):
    [event] = classes.events("init")
    assert event["from"].startswith("default/bert@")
    assert event["fresh"] == [
        f"heads.classes.{name}"
        for name in ("pooler.weight", "pooler.bias", "projection.weight", "projection.bias")
    ]
    assert event["taken"] > 10


def test_a_version_is_labelled_with_its_metrics(classes, alone):
    manifest, _, _ = alone.version("classes")
    held_out = next(v for _, v in classes.lead["metrics"] if "held_out_loss" in v)
    assert manifest.version.labels["accuracy"] == f"{held_out['held_out_accuracy']:.4f}"
    [baseline] = classes.events("baseline")
    assert 0 < baseline["metrics"]["accuracy"] < 1


def test_classes_of_a_version_keep_their_numbers(alone, classes, records):
    again = tuned(alone, "again", records, "ddp", {"method": "full"}, init="classes", steps=1)
    assert again.events("init")[0]["fresh"] == []
    assert alone.version("again")[1].task.labels == ("no", "yes")


def test_a_row_of_a_class_is_of_that_class(alone, classes, records):
    other = ["yes", "no"]
    spec = job("turned", "bert", records, train={"steps": 1})
    spec.update(model={"family": "bert", "init": {"from": "classes"}})
    spec.update(task={"kind": "classification", "labels": other})
    del spec["tokenizer"]
    result = alone.run(spec)
    assert result.lead["finished"], result.lead
    names = ("heads.classes.projection.weight", "heads.classes.projection.bias")
    assert result.events("init")[0]["fresh"] == list(names)


def test_a_model_is_put_together_of_two(alone, bert, gpt, text):
    spec = job("both", "bert_gpt", text, tuning={"method": "frozen", "freeze": ["encoder"]})
    spec["model"] = {"family": "bert_gpt", "init": {"encoder": "bert", "decoder": "gpt"}}
    del spec["tokenizer"]
    result = alone.run(spec)
    assert result.lead["finished"], result.lead
    [event] = result.events("init")
    assert all(".cross" in name or name.startswith("heads.masked") for name in event["fresh"])
    assert any(".cross" in name for name in event["fresh"])
    _, encoder, read = alone.version("bert")
    _, decoder, written = alone.version("gpt")
    _, config, found = alone.version("both")
    assert (config.encoder, config.decoder) == (encoder.encoder, decoder.decoder)
    names = [name for name in found if name.startswith("trunk.encoder.")]
    assert all(torch.equal(found[name], read[name]) for name in names)
    moved = "trunk.decoder.blocks.0.mlp.up.weight"
    assert not torch.equal(found[moved], written[moved])
    metrics = result.lead["metrics"][0][1]
    assert metrics["loss"] == pytest.approx(metrics["loss_masked"] + metrics["loss_next"])


@pytest.mark.parametrize("family", ["bert_gpt", "transformer"])
def test_an_encoder_may_come_alone_and_in_bfloat16(family, alone, bert, text, records):
    manifest, encoder, weights = alone.version("bert")
    name = f"half-{family}".replace("_", "-")
    alone.commit(name, weights, dict(manifest.assets))
    spec = job(f"of-{name}", family, text, tuning={"method": "frozen", "freeze": ["encoder"]})
    spec["model"] = {"family": family, "init": {"encoder": name}, "decoder_layers": 2}
    del spec["tokenizer"]
    if family == "transformer":
        spec["data"] = {
            "files": records,
            "format": "jsonl",
            "columns": {"source": "text", "target": "label"},
        }
    result = alone.run(spec)
    assert result.lead.get("finished"), result.lead
    _, config, found = alone.version(spec["name"])
    assert config.encoder == encoder.encoder
    assert (config.decoder.layers, config.decoder.width) == (2, SIZES["width"])
    assert config.share_embeddings == (family == "transformer")
    names = [weight for weight in found if weight.startswith("trunk.encoder.")]
    assert len(names) > 10
    assert all(torch.equal(found[weight], weights[weight].bfloat16().float()) for weight in names)


def test_a_version_without_a_tokenizer_needs_one_named(alone, bert, text):
    manifest, _, weights = alone.version("bert")
    alone.commit("mute", weights, {"config.json": manifest.assets["config.json"]})
    spec = job("of-mute", "bert", text)
    spec["model"] = {"family": "bert", "init": {"from": "mute"}}
    del spec["tokenizer"]
    assert alone.run(spec).lead["reason"] == "INIT_WITHOUT_TOKENIZER"


@pytest.mark.parametrize(
    ("family", "model", "tuning", "reason", "field"),
    [
        ("bert", {"init": {"from": "bert"}, "width": 32}, {}, "INIT_MISMATCH", "model.width"),
        ("bert", {"init": {"from": "bert"}, "norm": "rms"}, {}, "INIT_MISMATCH", "model.norm"),
        ("gpt", {"init": {"from": "bert"}}, {}, "INIT_MISMATCH", "model.family"),
        (
            "bert_gpt",
            {"init": {"encoder": "bert", "decoder": "bert"}},
            {},
            "INIT_MISMATCH",
            "model.init.decoder",
        ),
        ("bert_gpt", {"init": {"decoder": "gpt@99"}}, {}, "INIT_NOT_FOUND", "model.init.decoder"),
        (
            "bert",
            {"init": {"from": "bert"}},
            {"method": "frozen", "freeze": ["encoder", "decoder"]},
            "FREEZE_MATCHES_NOTHING",
            "tuning.freeze[1]",
        ),
        (
            "bert",
            {"init": {"from": "bert"}},
            {"method": "frozen", "freeze": ["trunk", "heads"]},
            "NOTHING_LEARNS",
            "tuning.freeze",
        ),
        (
            "bert",
            {"init": {"from": "bert"}},
            {"method": "lora", "lora": {"targets": ["attention.qkv", "mlp.sideways"]}},
            "LORA_MATCHES_NOTHING",
            "tuning.lora.targets[1]",
        ),
        (
            "bert",
            {"init": {"from": "bert"}},
            {"method": "lora", "lora": {"targets": ["masked.projection"], "merge": True}},
            "LORA_TIED",
            "tuning.lora.targets[0]",
        ),
    ],
)
def test_a_beginning_that_cannot_be(  # noqa: PLR0917 - fixtures
    family, model, tuning, reason, field, alone, bert, gpt, text
):
    spec = job(f"bad-{family.replace('_', '-')}", family, text, tuning=tuning)
    spec["model"] = {"family": family, **model}
    del spec["tokenizer"]
    result = alone.run(spec)
    assert result.lead["reason"] == reason, result.lead
    assert result.lead["message"].startswith(f"{field}: ")


def test_parts_of_other_vocabularies_do_not_fit(alone, bert, text):
    result = alone.run(job("stranger", "gpt", text))
    assert result.lead["finished"], result.lead
    spec = job("mixed", "bert_gpt", text)
    spec["model"] = {"family": "bert_gpt", "init": {"encoder": "bert", "decoder": "stranger"}}
    del spec["tokenizer"]
    result = alone.run(spec)
    assert result.lead["reason"] == "INIT_MISMATCH", result.lead
    assert result.lead["message"].startswith("model.init.decoder: ")
    assert "tokenizer.path" in result.lead["message"]


def test_merged_adapters_say_what_separate_ones_do(alone, bert, records):
    for merge in (False, True):
        lora = {"rank": 4, "targets": ["attention.qkv", "mlp.up"], "merge": merge}
        name = f"lora-{merge}".lower()
        tuned(alone, name, records, "fsdp", {"method": "lora", "lora": lora}, steps=4)
    apart, together = alone.model("lora-false"), alone.model("lora-true")
    names = dict(apart.named_parameters())
    assert sum("lora_" in name for name in names) == 4
    assert not any("lora_" in name for name, _ in together.named_parameters())
    assert any(names[name].any() for name in names if name.endswith("lora_b"))
    inputs = Inputs(tokens=torch.arange(40).reshape(2, 20))
    with torch.no_grad():
        one, other = apart(inputs).logits, together(inputs).logits
    assert torch.allclose(one, other, atol=1e-5)
    before, after = alone.version("bert")[2], alone.version("lora-false")[2]
    trunk = [name for name in before if name.startswith("trunk.")]
    assert all(torch.equal(before[name], after[name]) for name in trunk)
    assert not torch.equal(alone.version("lora-true")[2][trunk[5]], before[trunk[5]])


def test_a_job_whose_merged_version_is_there_ends_well(alone, bert, records):
    lora = {"rank": 2, "merge": True}
    first = tuned(alone, "over", records, "ddp", {"method": "lora", "lora": lora}, steps=2)
    spec = job(
        "over",
        "bert",
        records,
        train={"steps": 2},
        task={"kind": "classification"},
        tuning={"method": "lora", "lora": lora},
        parallel={"strategy": "ddp"},
    )
    spec["model"] = {"family": "bert", "init": {"from": "bert"}}
    del spec["tokenizer"]
    again = alone.run(spec, attempt=2)
    assert (again.lead["finished"], again.lead["version"]) == (True, first.lead["version"])
    assert again.events("digests") == first.events("digests")
    assert again.events("version") == []
