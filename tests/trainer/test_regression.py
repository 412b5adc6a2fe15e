"""Rerankers that are trained here, from nothing or from an import, served, and exported."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from checkpoints import exported, imported, loaded, reranker, scored
from sentence_transformers import CrossEncoder

pytestmark = pytest.mark.processes

WORDS = ("cat", "dog", "mat", "CAT", "naïve", "Hund", "dogs", "sagt")
ROWS = [
    {"text": f"the {asked}", "text_pair": f"a {told} sat", "score": float(asked == told)}
    for asked in WORDS
    for told in (asked, *(other for other in WORDS[:2] if other != asked))
] * 2
PAIRS = [(row["text"], row["text_pair"]) for row in ROWS[: len(ROWS) // 2]]


def records(folder, scale=1.0):
    """A file to learn from, and one with the same records that is held out."""
    lines = "".join(json.dumps({**row, "score": scale * row["score"]}) + "\n" for row in ROWS)
    paths = [folder / "rows.jsonl", folder / "held-out.jsonl"]
    for path in paths:
        path.write_text(lines)
    return [str(path) for path in paths]


def job(name, files, *, model, **train):
    rate = {"lr": 3e-3, "batch_size": 8, "log_every": 1, "eval_every": 10, "warmup_steps": 0}
    return {
        "name": name,
        "model": {"family": "bert", **model},
        "task": {"kind": "regression"},
        "data": {"files": files[:1], "validation_files": files[1:]},
        "train": {"steps": 10, **rate, **train},
        "publish": {"every": 0},
    }


def trained(alone, spec, attempt=1):
    result = alone.run(spec, attempt)
    assert result.lead.get("finished"), result.lead
    manifest, config, weights = alone.version(spec["name"])
    version = SimpleNamespace(
        assets=manifest.assets, arrays={name: weight.numpy() for name, weight in weights.items()}
    )
    return result, config, version


def committed(alone, name, folder):
    version = imported(folder)
    weights = {key: torch.from_numpy(np.array(array)) for key, array in version.arrays.items()}
    alone.commit(name, weights, version.assets)
    return version


def check_export(version, folder):
    """What is served is what a CrossEncoder gives for the export."""
    out = CrossEncoder(str(exported(version, folder)), device="cpu")
    given = scored(loaded(version), PAIRS)
    np.testing.assert_allclose(given, out.predict(PAIRS, batch_size=1), atol=1e-5)
    return given


@pytest.mark.parametrize(
    ("family", "scale", "activation"),
    [("bert", 1.0, "sigmoid"), ("bert", 4.0, "identity"), ("gpt", 1.0, "sigmoid")],
)
def test_one_from_nothing_beats_the_mean(alone, tmp_path, family, scale, activation):
    sizes = {"layers": 2, "heads": 2, "width": 32, "context": 32, "dropout": 0.0}
    model = {"family": family, **sizes}
    spec = job(f"{family}-{activation}", records(tmp_path, scale), model=model, steps=80)
    vocabulary = {"vocab_size": 300 if family == "gpt" else 120}
    result, config, version = trained(alone, {**spec, "tokenizer": vocabulary})
    [baseline] = result.events("baseline")
    last = [values for _, values in result.lead["metrics"] if "held_out_loss" in values][-1]
    assert last["held_out_loss"] < 0.8 * baseline["baseline_loss"]
    assert last["held_out_mse"] < 0.7 * baseline["metrics"]["mse"]
    assert last["held_out_pearson"] > 0.5
    assert (config.task.activation, config.task.labels) == (activation, ("LABEL_0",))
    given = check_export(version, tmp_path / "out")
    wanted = [scale * row["score"] for row in ROWS[: len(PAIRS)]]
    assert np.corrcoef(given, wanted)[0, 1] == pytest.approx(last["held_out_pearson"], abs=1e-4)


PATH = "torch.nn.modules.linear.Identity"


@pytest.mark.parametrize(
    ("stated", "scale", "activation"),
    [
        ({}, 1.0, "sigmoid"),
        ({"sbert_ce_default_activation_function": PATH}, 1.0, "identity"),
        ({}, 4.0, "identity"),
    ],
)
def test_an_import_goes_on_with_its_head(alone, tmp_path, stated, scale, activation):
    name = f"old-{len(stated)}-{scale:.0f}"
    names = {"id2label": {"0": "relevance"}, "label2id": {"relevance": 0}}
    before = committed(alone, name, reranker(tmp_path / "theirs", **stated, **names))
    spec = job(f"{name}-on", records(tmp_path, scale), model={"init": {"from": name}})
    result, config, version = trained(alone, spec)
    [event] = result.events("init")
    assert (event["fresh"], event["taken"]) == ([], len(before.arrays))
    assert (config.task.kind, config.task.labels) == ("regression", ("relevance",))
    assert config.task.activation == activation
    changed = {
        key
        for key, array in version.arrays.items()
        if not np.array_equal(array, before.arrays[key])
    }
    assert "heads.classes.projection.weight" in changed
    check_export(version, tmp_path / "out")


def test_one_that_was_interrupted_goes_on(alone, tmp_path):
    committed(alone, "theirs", reranker(tmp_path / "theirs"))
    spec = job("halves", records(tmp_path), model={"init": {"from": "theirs"}}, steps=4)
    trained(alone, spec)
    result, config, version = trained(alone, {**spec, "train": {**spec["train"], "steps": 8}}, 2)
    [event] = result.events("resume")
    assert event["step"] == 4
    assert config.task.activation == "sigmoid"
    check_export(version, tmp_path / "out")
