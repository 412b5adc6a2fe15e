"""Bad and good files: what the reader says, and where."""

from __future__ import annotations

import pytest

from tessera import errors
from tessera.spec import load, read

from .good import GOOD

# text, reason, place, words of the message, field
BAD = {
    "misspelt field": (
        "name: a\nmodle: {family: gpt}\n",
        "UNKNOWN_FIELD",
        "2:1",
        "unknown field `modle`; did you mean `model`?",
        "modle",
    ),
    "misspelt inner field": (
        GOOD.replace("steps:", "stpes:"),
        "UNKNOWN_FIELD",
        "5:19",
        "unknown field `stpes` in `train`; did you mean `steps`?",
        "train.stpes",
    ),
    "field like none": (
        "name: a\nxyzzy: 1\n",
        "UNKNOWN_FIELD",
        "2:1",
        "unknown field `xyzzy`; there are: name, kind",
        "xyzzy",
    ),
    "twice": (
        "name: a\nname: b\n",
        "DUPLICATE_FIELD",
        "2:1",
        "`name` is there twice, first in line 1",
        "name",
    ),
    "twice in both spellings": (
        "name: a\ntrain: {batch_size: 8, batchSize: 8}\n",
        "DUPLICATE_FIELD",
        "2:24",
        "`batchSize` is there twice",
        "train.batch_size",
    ),
    "twice in a map": (
        "name: a\nlabels: {x: a, x: b}\n",
        "DUPLICATE_FIELD",
        "2:16",
        "`x` is there twice",
        "labels[x]",
    ),
    "text for a number": (
        GOOD.replace("1e-3", "fast"),
        "WRONG_TYPE",
        "5:13",
        "`train.lr` must be a number, but here is the text `fast`",
        "train.lr",
    ),
    "quoted number": (
        GOOD.replace("1e2", "'100'"),
        "WRONG_TYPE",
        "5:26",
        "`train.steps` must be a whole number",
        "train.steps",
    ),
    "fraction for a whole number": (
        GOOD.replace("1e2", "1.5"),
        "WRONG_TYPE",
        "5:26",
        "`train.steps` must be a whole number, but here is the number `1.5`",
        "train.steps",
    ),
    "too many digits": (
        GOOD.replace("1e2", "3000000000"),
        "WRONG_TYPE",
        "5:26",
        "whole number",
        "train.steps",
    ),
    "not finite": (GOOD.replace("1e-3", ".inf"), "WRONG_TYPE", "5:13", "a number", "train.lr"),
    "number for text": (
        "name: 12\n",
        "WRONG_TYPE",
        "1:7",
        "`name` must be text, but here is the number `12`; put it in quotes",
        "name",
    ),
    "number for a label": (
        GOOD.replace("nlp", "7"),
        "WRONG_TYPE",
        "6:16",
        "put it in quotes",
        "labels[team]",
    ),
    "text for a truth value": (
        GOOD.replace("layers: 2", "tie_embeddings: maybe"),
        "WRONG_TYPE",
        "2:38",
        "true or false",
        "model.tie_embeddings",
    ),
    "text for a list": (
        "name: a\ndata: {files: x}\n",
        "WRONG_TYPE",
        "2:15",
        "`data.files` must be a list ([a, b]), but here is the text `x`",
        "data.files",
    ),
    "list for fields": (
        "name: a\nmodel: [gpt]\n",
        "WRONG_TYPE",
        "2:8",
        "`model` must be fields (name: value), but here is a list",
        "model",
    ),
    "fields for text": ("name: {a: b}\n", "WRONG_TYPE", "1:7", "a group of fields", "name"),
    "nothing in a list": (
        "name: a\ndata: {files: [~]}\n",
        "WRONG_TYPE",
        "2:16",
        "`data.files[0]` must be text, but here is nothing",
        "data.files[0]",
    ),
    "number in a list of texts": (
        f"{GOOD}task: {{kind: classification, labels: [good, 5]}}\n",
        "WRONG_TYPE",
        "7:45",
        "`task.labels[1]` must be text, but here is the number `5`; put it in quotes",
        "task.labels[1]",
    ),
    "number for a column": (
        GOOD.replace("train:", "  columns: {text: 0}\ntrain:"),
        "WRONG_TYPE",
        "5:19",
        "`data.columns[text]` must be text",
        "data.columns[text]",
    ),
    "role twice": (
        GOOD.replace("  files:", "  columns: {text: a, text: b}\n  files:"),
        "DUPLICATE_FIELD",
        "4:22",
        "`text` is there twice",
        "data.columns[text]",
    ),
    "text for adapters": (
        f"{GOOD}tuning: {{method: lora, lora: on}}\n",
        "WRONG_TYPE",
        "7:30",
        "`tuning.lora` must be fields",
        "tuning.lora",
    ),
    "misspelt field of adapters": (
        f"{GOOD}tuning:\n  lora:\n    target: [mlp.up]\n",
        "UNKNOWN_FIELD",
        "9:5",
        "unknown field `target` in `tuning.lora`; did you mean `targets`?",
        "tuning.lora.target",
    ),
    "label twice": (
        f"{GOOD}task: {{labels: [a, a]}}\n",
        "INVALID_FIELD",
        "7:16",
        "task.labels: repeated value must contain unique items",
        "task.labels",
    ),
    "share of all": (
        f"{GOOD}task: {{mask_probability: 1}}\n",
        "INVALID_FIELD",
        "7:26",
        "task.mask_probability: must be",
        "task.mask_probability",
    ),
    "a list at the top": ("[a, b]\n", "WRONG_TYPE", "1:1", "the spec must be fields", ""),
    "no YAML": ("a: [\n", "BAD_YAML", "2:1", "this is not YAML", ""),
    "a tab": ("a:\n\tb: c\n", "BAD_YAML", "2:1", "this is not YAML", ""),
    "control character": ("a: \x01\n", "BAD_YAML", None, "this is not YAML", ""),
    "two documents": ("a: b\n---\nc: d\n", "BAD_YAML", "2:1", "this is not YAML", ""),
    "empty": ("# nothing\n", "EMPTY_SPEC", None, "there is nothing in it", ""),
    "negative size": (
        GOOD.replace("layers: 2", "layers: -2"),
        "INVALID_FIELD",
        "2:30",
        "model.layers: must be greater than or equal to 1",
        "model.layers",
    ),
    "absurd size": (
        GOOD.replace("layers: 2", "layers: 100000"),
        "INVALID_FIELD",
        "2:30",
        "model.layers: must be",
        "model.layers",
    ),
    "bad name": ("name: A b\n" + GOOD[11:], "INVALID_FIELD", "1:7", "name:", "name"),
    "no data": (
        "name: a\nmodel: {family: gpt}\n",
        "INVALID_FIELD",
        None,
        "data: it is missing",
        "data",
    ),
    "no family": (
        "name: a\nmodel: {layers: 1}\ndata: {files: [x]}\n",
        "INVALID_FIELD",
        "2:8",
        "model.family: it is missing",
        "model.family",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_file(tmp_path, name):
    text, reason, place, words, field = BAD[name]
    path = tmp_path / "job.yaml"
    path.write_text(text)
    with pytest.raises(errors.InvalidArgumentError) as caught:
        load(path)
    error = caught.value
    assert error.reason == reason
    assert error.message.startswith(f"{path}:{place}: " if place else f"{path}: "), error.message
    assert words in error.message
    assert "\n" not in error.message
    assert error.violations[0].field == field


def test_good_file(tmp_path):
    path = tmp_path / "job.yaml"
    path.write_text(GOOD)
    spec = load(path)
    assert (spec.name, spec.model.layers, list(spec.data.files)) == (
        "demo",
        2,
        ["stdlib://**/*.py"],
    )
    assert spec.train.lr == 1e-3  # YAML 1.1 takes this for text.
    assert spec.train.steps == 100
    assert dict(spec.labels) == {"team": "nlp"}
    assert not spec.train.HasField("batch_size")


def test_lists_maps_and_numbers(tmp_path):
    path = tmp_path / "job.yaml"
    path.write_text(
        "name: a\n"
        "model: {family: bert, init: {from: a@1}, kvHeads: 2, shareEmbeddings: no}\n"
        "data: {files: [x.csv], validationFiles: [y.csv], columns: {text: Body, label: '3'}}\n"
        "task: {kind: classification, labels: [bad, 'no', good], labelSmoothing: 1e-1}\n"
        "tuning: {method: lora, lora: {rank: 4, alpha: 8, targets: [qkv, out], merge: yes}}\n"
    )
    spec = load(path)
    assert (spec.model.kv_heads, spec.model.HasField("share_embeddings")) == (2, True)
    assert list(spec.data.validation_files) == ["y.csv"]
    assert dict(spec.data.columns) == {"text": "Body", "label": "3"}
    assert (list(spec.task.labels), spec.task.label_smoothing) == (["bad", "no", "good"], 0.1)
    lora = spec.tuning.lora
    assert (lora.rank, lora.alpha, list(lora.targets), lora.merge) == (4, 8, ["qkv", "out"], True)
    changed = read(path, ["data.columns.label=Stars", "task.labels=[a, b]"]).spec
    assert dict(changed.data.columns) == {"text": "Body", "label": "Stars"}
    assert list(changed.task.labels) == ["a", "b"]


def test_names_on_the_left_of_a_colon_need_no_quotes(tmp_path):
    path = tmp_path / "job.yaml"
    path.write_text(
        "name: a\nmodel: {family: bert}\n"
        "data:\n  files: [x.csv]\n"
        "  label_names: {0: none, 1: one, -1: other, true: sure, '007': bond, 010: ten}\n"
    )
    assert dict(load(path).data.label_names) == {
        "0": "none",
        "1": "one",
        "-1": "other",
        "true": "sure",
        "007": "bond",
        "010": "ten",
    }
    with pytest.raises(errors.InvalidArgumentError, match="`1` is there twice"):
        read(path, ["data.label_names={1: a, '1': b}"])


def test_columns_are_joined_in_one_text(tmp_path):
    path = tmp_path / "job.yaml"
    path.write_text(
        "name: a\nmodel: {family: bert}\ndata: {files: [x.csv], columns: {text: [title, body]}}\n"
    )
    with pytest.raises(errors.InvalidArgumentError) as caught:
        load(path)
    assert caught.value.reason == "WRONG_TYPE"
    assert 'columns are joined in one text: "{title} {body}"' in caught.value.message
    told = read(path, ['data.columns={text: "{title} {body}"}']).spec
    assert dict(told.data.columns) == {"text": "{title} {body}"}


def test_both_spellings_nothing_and_anchors(tmp_path):
    path = tmp_path / "job.yaml"
    path.write_text(
        "name: a\nmodel: &m {family: gpt, ffWidth: 8, tie_embeddings: off}\n"
        "data: {files: [&f x, *f], heldOut: 0.5}\ntrain:\npublish: ~\n"
    )
    spec = load(path)
    assert spec.model.ff_width == 8
    assert spec.model.HasField("tie_embeddings")
    assert not spec.model.tie_embeddings
    assert list(spec.data.files) == ["x", "x"]
    assert spec.data.held_out == 0.5
    assert not spec.HasField("train")
