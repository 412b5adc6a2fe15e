"""Data sets that the library `datasets` saved, or that lie as on the Hugging Face hub."""

from __future__ import annotations

import tempfile

import datasets
from reading import CLASSIFY, ROWS, both, fails, jsonl

from tessera import errors
from tessera.data.record import Roles
from tessera.data.settings import DataSettings
from tessera.trainer.data.read import read


def no_blobs(digest):
    raise errors.NotFoundError(f"blob {digest}: there are no uploads")


def test_saved_data_sets(tmp_path):
    features = datasets.Features(
        {
            "text": datasets.Value("string"),
            "label": datasets.ClassLabel(names=["no", "yes"]),
            "tags": datasets.List(datasets.ClassLabel(names=["O", "B"])),
            "extra": datasets.Value("int64"),
        }
    )
    rows = {"text": ["a", "b"], "label": [1, 0], "tags": [[0, 1], [0]], "extra": [1, 2]}
    made = datasets.Dataset.from_dict(rows, features=features)
    datasets.DatasetDict({"train": made, "test": made}).save_to_disk(tmp_path / "both")
    made.save_to_disk(tmp_path / "one")
    told = {"roles": Roles(required=("text", "label", "tags")), "format": "dataset"}
    for name, shown in (("both?split=test", "both/test"), ("one", "one/train")):
        data = DataSettings(files=(f"dataset://{tmp_path}/{name}",), format="dataset")
        found = both(data, told["roles"], no_blobs)
        assert sorted(tuple(record.values.values()) for record in found) == [
            ("a", "yes", ("O", "B")),
            ("b", "no", ("O",)),
        ]
        assert {record.place for record in found} == {f"{shown}:1", f"{shown}:2"}
    told["read_blob"] = no_blobs
    message = fails(
        "DATA_NOT_FOUND", "data.files", (f"dataset://{tmp_path}/both?split=dev",), **told
    )
    assert "it has train, test" in message
    fails("DATA_NOT_FOUND", "data.files", (f"dataset://{tmp_path}/none",), **told)
    fails("DATA_UNREADABLE", "data.files", (f"{tmp_path}/one",), **told)
    told["roles"] = Roles(required=("text", "score"))
    message = fails(
        "DATA_COLUMN_MISSING", "data.columns.score", (f"dataset://{tmp_path}/one",), **told
    )
    assert "`text`, `label`, `tags`, `extra`" in message


def test_data_sets_in_the_layout_of_the_hub(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "cache"))
    (tmp_path / "cache").mkdir()
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "train.jsonl").write_text(jsonl(*ROWS))
    (tmp_path / "set" / "test.jsonl").write_text(jsonl(*ROWS[:2]))
    urls = [f"dataset://{tmp_path}/set?split={split}" for split in ("train", "test", "dev")]
    data = DataSettings(files=(urls[0],), validation_files=(urls[1],), format="dataset")
    train, held_out = read(data, CLASSIFY, no_blobs)
    assert [dict(record.values) for record in train] == ROWS
    assert [record.place for record in held_out] == ["set/test:1", "set/test:2"]
    message = fails(
        "DATA_UNREADABLE", "data.files", (urls[2],), read_blob=no_blobs, format="dataset"
    )
    assert "dev" in message
