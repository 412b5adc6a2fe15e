"""Rules between fields: exact reason and field of each."""

from __future__ import annotations

import math

import pytest

from tessera import errors
from tessera.api.controller.v1.spec_pb2 import (
    DataSpec,
    InitSpec,
    JobSpec,
    ModelSpec,
    ResourcesSpec,
    TokenizerSpec,
    TrainSpec,
)
from tessera.spec import check

BLOB = f"blob://{'a' * 64}/x.txt"


def spec(**fields) -> JobSpec:
    model = {"family": "gpt", **fields.pop("model", {})}
    data = DataSpec(files=fields.pop("files", ["stdlib://**/*.py"]))
    return JobSpec(name="demo", model=ModelSpec(**model), data=data, **fields)


BAD = {
    "unknown family": (
        spec(model={"family": "gtp"}),
        "UNKNOWN_FAMILY",
        "model.family",
        "did you mean `gpt`",
    ),
    "unknown task": (
        spec(task={"kind": "languag_modeling"}),
        "TASK_NOT_FOR_FAMILY",
        "task.kind",
        "did you mean `language_modeling`",
    ),
    "unknown task of a version": (
        spec(model={"init": {"from": "a@1"}}, task={"kind": "chat"}),
        "TASK_NOT_FOR_FAMILY",
        "task.kind",
        "a gpt has no task `chat`",
    ),
    "unknown preset": (spec(model={"preset": "xl"}), "UNKNOWN_PRESET", "model.preset", "preset"),
    "negative size": (spec(model={"layers": -1}), "INVALID_FIELD", "model.layers", "must be"),
    "heads": (
        spec(model={"heads": 5, "width": 64}),
        "HEADS_DO_NOT_DIVIDE_WIDTH",
        "model.heads",
        "5 heads do not divide a width of 64; 4 would",
    ),
    "all of attention dropped": (
        spec(model={"attention_dropout": 1}),
        "INVALID_FIELD",
        "model.attention_dropout",
        "less than 1",
    ),
    "attention that gains": (
        spec(model={"attention_dropout": -0.1}),
        "INVALID_FIELD",
        "model.attention_dropout",
        "greater than or equal to 0",
    ),
    "no waves": (
        spec(model={"positions": "rotary", "rotary_base": 1}),
        "INVALID_FIELD",
        "model.rotary_base",
        "greater than 1",
    ),
    "waves without end": (
        spec(model={"positions": "rotary", "rotary_base": math.inf}),
        "INVALID_FIELD",
        "model.rotary_base",
        "less than or equal to",
    ),
    "no epsilon": (
        spec(model={"norm_epsilon": 0}),
        "INVALID_FIELD",
        "model.norm_epsilon",
        "greater than or equal to",
    ),
    "no number for an epsilon": (
        spec(model={"norm_epsilon": math.nan}),
        "INVALID_FIELD",
        "model.norm_epsilon",
        "must be",
    ),
    "sequence": (
        spec(model={"context": 64}, train=TrainSpec(sequence_length=65)),
        "SEQUENCE_LONGER_THAN_CONTEXT",
        "train.sequence_length",
        "65 tokens do not fit the model's context of 64",
    ),
    "batch by workers": (
        spec(resources=ResourcesSpec(workers=3), train=TrainSpec(batch_size=8)),
        "BATCH_NOT_DIVISIBLE",
        "train.batch_size",
        "3 workers x 1 micro-batches = 3",
    ),
    "batch by rounds": (
        spec(
            resources=ResourcesSpec(workers=2), train=TrainSpec(batch_size=8, grad_accumulation=3)
        ),
        "BATCH_NOT_DIVISIBLE",
        "train.batch_size",
        "2 workers x 3 micro-batches = 6",
    ),
    "batch above every limit": (
        spec(resources=ResourcesSpec(workers=65536), train=TrainSpec(grad_accumulation=65536)),
        "BATCH_NOT_DIVISIBLE",
        "train.batch_size",
        "micro-batches",
    ),
    "warm-up": (
        spec(train=TrainSpec(steps=10, warmup_steps=11)),
        "WARMUP_LONGER_THAN_STEPS",
        "train.warmup_steps",
        "11 steps",
    ),
    "learning rates": (
        spec(train=TrainSpec(lr=1e-4, min_lr=1e-3)),
        "MIN_LR_ABOVE_LR",
        "train.min_lr",
        "above",
    ),
    "too large": (
        spec(model={"layers": 1024, "width": 131072, "heads": 1024}),
        "MODEL_TOO_LARGE",
        "model",
        "parameters",
    ),
    "init": (
        spec(model={"init": InitSpec(**{"from": "gpt@zero"})}),
        "INVALID_REFERENCE",
        "model.init.from",
        "SET@VERSION",
    ),
    "init from version 0": (
        spec(model={"init": InitSpec(**{"from": "gpt@0"})}),
        "INVALID_REFERENCE",
        "model.init.from",
        "from 1",
    ),
    "nothing after the scheme": (
        spec(files=["s3://"]),
        "BAD_URL",
        "data.files[0]",
        "names nothing",
    ),
    "control characters": (spec(files=["a\nb"]), "BAD_URL", "data.files[0]", "neither"),
    "half a blob": (
        spec(files=[BLOB, "blob://abc/x"]),
        "BAD_URL",
        "data.files[1]",
        "blob://SHA256/FILENAME",
    ),
    "stdlib as a tokenizer": (
        spec(tokenizer=TokenizerSpec(path="stdlib://x")),
        "BAD_URL",
        "tokenizer.path",
        "data.files only",
    ),
    "a file beside the standard library": (
        spec(files=["stdlib:///etc/passwd"]),
        "BAD_URL",
        "data.files[0]",
        "leaves the standard library",
    ),
    "a file above the standard library": (
        spec(files=["stdlib://json/../../x"]),
        "BAD_URL",
        "data.files[0]",
        "leaves the standard library",
    ),
    "code of another kind": (
        spec(code="s3://a/code.zip", entrypoint="a:b"),
        "BAD_URL",
        "code",
        "folder or .py",
    ),
    "path that was not uploaded": (
        spec(files=["/etc/passwd"]),
        "FILE_NOT_UPLOADED",
        "data.files[0]",
        "client must upload",
    ),
    "code that was not uploaded": (
        spec(code="./code", entrypoint="a:b"),
        "FILE_NOT_UPLOADED",
        "code",
        "client must upload",
    ),
    "not a number": (
        spec(train=TrainSpec(clip_norm=math.inf)),
        "INVALID_FIELD",
        "train.clip_norm",
        "finite",
    ),
    "entrypoint": (spec(entrypoint="no colon"), "INVALID_FIELD", "entrypoint", "pattern"),
    "context of one": (
        spec(model={"context": 1}),
        "INVALID_FIELD",
        "train.sequence_length",
        "must be",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_spec(name):
    bad, reason, field, words = BAD[name]
    with pytest.raises(errors.InvalidArgumentError) as caught:
        check(bad)
    assert caught.value.reason == reason
    assert caught.value.violations[0].field == field
    assert words in caught.value.message
    assert field in caught.value.message
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    "good",
    [
        spec(),
        spec(files=[BLOB, "s3://bucket/*.txt", "file:///data/x", "memory://x"]),
        spec(model={"init": InitSpec(**{"from": "other@12"})}),
        spec(model={"init": InitSpec(**{"from": "team-a/other"})}),
        spec(code=f"blob://{'0' * 64}/code.zip", entrypoint="pkg.mod:build"),
        spec(entrypoint="installed.module:build"),
        spec(train=TrainSpec(steps=1)),
        spec(model={"preset": "gpt2-xl"}),
    ],
)
def test_good_spec(good):
    check(good)


def test_local_paths_before_they_are_uploaded():
    check(spec(files=["a/*.txt"], code="code/"), uploaded=False)


def test_all_that_is_wrong_is_told():
    bad = spec(
        model={"heads": 5, "width": 64, "context": 8},
        train=TrainSpec(sequence_length=9, steps=1, warmup_steps=2),
    )
    with pytest.raises(errors.InvalidArgumentError, match="and 2 more") as caught:
        check(bad)
    assert [violation.field for violation in caught.value.violations] == [
        "model.heads",
        "train.sequence_length",
        "train.warmup_steps",
    ]
