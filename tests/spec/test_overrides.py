"""Fields that the command line sets over those of a file."""

from __future__ import annotations

import pytest

from tessera import errors
from tessera.spec import read

from .good import GOOD


def test_overrides(tmp_path):
    path = tmp_path / "job.yaml"
    path.write_text(GOOD)
    overrides = [
        "train.lr=2e-4",
        "train.batchSize=16",
        "publish.set=other",
        "data.files=[a, b]",
        "labels.team=vision",
        "resources.accelerator={type: H100, count: 2}",
        "train.lr=3e-4",
    ]
    spec = read(path, overrides).spec
    assert spec.train.lr == 3e-4
    assert spec.train.batch_size == 16
    assert spec.train.steps == 100
    assert spec.publish.set == "other"
    assert list(spec.data.files) == ["a", "b"]
    assert dict(spec.labels) == {"team": "vision"}
    assert spec.resources.accelerator.type == "H100"


@pytest.mark.parametrize(
    ("override", "reason", "words"),
    [
        ("train.lr", "BAD_OVERRIDE", "write it as key=value"),
        ("=3", "BAD_OVERRIDE", "write it as key=value"),
        ("train..lr=3", "BAD_OVERRIDE", "write it as key=value"),
        ("name.x=3", "BAD_OVERRIDE", "`x` cannot be set"),
        ("trian.lr=3", "UNKNOWN_FIELD", "did you mean `train`?"),
        ("train.lr=fast", "WRONG_TYPE", "must be a number"),
        ("train.lr=", "WRONG_TYPE", "must be a number"),
        ("train.lr=[", "BAD_YAML", "this is not YAML"),
        ("train.lr=-1", "INVALID_FIELD", "train.lr: must be greater than 0"),
    ],
)
def test_bad_override(tmp_path, override, reason, words):
    path = tmp_path / "job.yaml"
    path.write_text(GOOD)
    with pytest.raises(errors.InvalidArgumentError) as caught:
        read(path, [override])
    assert caught.value.reason == reason
    assert caught.value.message.startswith(f"--set {override}: ")
    assert words in caught.value.message
