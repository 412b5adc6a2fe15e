"""Defaults of tasks, tuning, tokenizers and data, for every family."""

from __future__ import annotations

import pytest

from tessera import errors
from tessera.api.controller.v1.spec_pb2 import (
    DataSpec,
    JobSpec,
    LoRASpec,
    ModelSpec,
    TaskSpec,
    TokenizerSpec,
    TrainSpec,
    TuningSpec,
)
from tessera.models.registry import FAMILIES
from tessera.models.tasks import TASKS
from tessera.spec import check, rate_is_open, resolve
from tessera.spec.formats import format_of
from tessera.spec.rules.model import model_config

CHOICES = ("norm", "norm_order", "norm_epsilon", "positions", "rotary_base", "activation")
DATA = {
    "text": DataSpec(files=["stdlib://**/*.py"]),
    "parallel": DataSpec(files=["s3://a/x.en"], target_files=["s3://a/x.de"]),
    "jsonl": DataSpec(files=["s3://a/x.jsonl.gz"]),
}


def job(family, kind="", data=None, task=None, **fields) -> JobSpec:
    """A job on data that suits its task."""
    kind = kind or FAMILIES[family].default_task
    form = next(form for form in DATA if form in TASKS[kind].formats)
    return JobSpec(
        name="demo",
        model=ModelSpec(family=family, **fields.pop("model", {})),
        data=data or DATA[form],
        task=TaskSpec(kind=kind, **(task or {})),
        **fields,
    )


@pytest.mark.parametrize(
    ("family", "preset"), [(name, preset) for name in FAMILIES for preset in FAMILIES[name].presets]
)
def test_every_preset_is_right(family, preset):
    spec = job(family, model={"preset": preset})
    check(spec)
    model = resolve(spec).model
    for name, value in FAMILIES[family].presets[preset].items():
        assert getattr(model, name) == value, name
    assert model_config(resolve(spec), 4096) == FAMILIES[family].config(
        FAMILIES[family].presets[preset], FAMILIES[family].task(), vocab_size=4096
    )


@pytest.mark.parametrize(
    ("family", "kind"),
    [(name, kind) for name, family in FAMILIES.items() for kind in family.tasks],
)
def test_every_task_of_every_family(family, kind):
    spec = job(family, kind)
    check(spec)
    task = resolve(spec).task
    set_ = {field.name for field, _ in task.ListFields()} - {"kind"}
    # The classes are those of the data; everything else that the task has is filled in.
    assert set_ == {*TASKS[kind].fields} - {"labels"}


@pytest.mark.parametrize("family", FAMILIES)
def test_defaults_of_a_family(family):
    spec = resolve(job(family))
    model, both = spec.model, family in {"transformer", "bert_gpt"}
    assert (model.layers, model.heads, model.width, model.context) == (4, 4, 256, 256)
    assert (model.ff_width, model.kv_heads, model.bias) == (1024, 4, True)
    supervised = family == "transformer"  # The others learn from plain text.
    assert (model.dropout, model.attention_dropout) == (0.1 if supervised else 0, 0)
    assert (model.HasField("decoder_layers"), model.HasField("share_embeddings")) == (both, both)
    assert model.share_embeddings == (family == "transformer")
    # The two stacks of a family differ in these, so that no one value could be told.
    assert not any(getattr(model, name) for name in CHOICES)
    kind = "wordpiece" if family.startswith("bert") else "byte_bpe"
    assert spec.tokenizer == TokenizerSpec(kind=kind, vocab_size=4096, lowercase=False)
    assert spec.tuning == TuningSpec(method="full")


def test_the_base_of_rotary_positions():
    assert resolve(job("gpt", model={"positions": "rotary"})).model.rotary_base == 10_000
    stated = {"preset": "llama-8b", "rotary_base": 7}
    assert resolve(job("gpt", model=stated)).model.rotary_base == 7
    learned = {"preset": "llama-8b", "positions": "learned"}
    assert not resolve(job("gpt", model=learned)).model.HasField("rotary_base")


def test_kind_of_the_task():
    bare = {
        family: JobSpec(name="a", model=ModelSpec(family=family), data=DATA["jsonl"])
        for family in FAMILIES
    }
    assert {family: resolve(spec).task.kind for family, spec in bare.items()} == {
        "transformer": "translation",
        "bert": "masked_language_modeling",
        "gpt": "language_modeling",
        "bert_gpt": "joint",
    }
    with pytest.raises(errors.InvalidArgumentError, match="a gpt has no task `joint`") as caught:
        resolve(JobSpec(model=ModelSpec(family="gpt"), task=TaskSpec(kind="joint")))
    assert caught.value.reason == "TASK_NOT_FOR_FAMILY"
    assert caught.value.violations[0].field == "task.kind"


def test_values_of_tasks():
    assert resolve(job("bert", "masked_language_modeling")).task == TaskSpec(
        kind="masked_language_modeling", mask_probability=0.15, label_smoothing=0, packing=True
    )
    assert resolve(job("bert_gpt")).task == TaskSpec(
        kind="joint", mask_probability=0.15, masked_weight=1, next_weight=1, label_smoothing=0
    )
    for kind in ("translation", "summarization"):
        assert resolve(job("transformer", kind)).task.label_smoothing == 0.1
    pooled = {
        (family, kind): resolve(job(family, kind)).task.pooling
        for family in ("bert", "gpt", "bert_gpt")
        for kind in ("sentiment", "sentence_embedding")
    }
    assert pooled == {
        ("bert", "sentiment"): "first",
        ("bert", "sentence_embedding"): "mean",
        ("gpt", "sentiment"): "last",
        ("gpt", "sentence_embedding"): "last",
        ("bert_gpt", "sentiment"): "first",
        ("bert_gpt", "sentence_embedding"): "mean",
    }
    many = resolve(job("bert", "classification", task={"multi_label": True})).task
    assert many.multi_label
    assert not many.HasField("label_smoothing")


def test_stride_follows_the_sequences():
    task = resolve(job("bert", "question_answering", train=TrainSpec(sequence_length=101))).task
    assert task.stride == 25
    task = resolve(job("bert", "question_answering", model={"preset": "bert-base"})).task
    assert task.stride == 128
    # Only the trainer knows the context of the version.
    started = {"init": {"from": "earlier"}}
    assert not resolve(job("bert", "question_answering", model=started)).task.HasField("stride")


def test_tuning():
    def tuned(**fields):
        return resolve(job("bert", tuning=TuningSpec(**fields))).tuning

    assert tuned(method="frozen") == TuningSpec(method="frozen", freeze=["trunk"], freeze_steps=0)
    encoder = tuned(method="frozen", freeze=["encoder"], freeze_steps=9)
    assert encoder == TuningSpec(method="frozen", freeze=["encoder"], freeze_steps=9)
    staged = tuned(freeze=["encoder"], freeze_steps=9)
    assert staged == TuningSpec(method="full", freeze=["encoder"], freeze_steps=9)
    attention = ["attention.qkv", "attention.out", "cross.q", "cross.kv", "cross.out"]
    assert tuned(method="lora") == TuningSpec(
        method="lora", lora=LoRASpec(rank=8, alpha=16, targets=attention, merge=False)
    )
    some = tuned(method="lora", lora=LoRASpec(rank=3, targets=["mlp.up"], merge=True)).lora
    assert some == LoRASpec(rank=3, alpha=6, targets=["mlp.up"], merge=True)


@pytest.mark.parametrize(
    ("fields", "form"),
    [
        ({"files": ["a.txt"]}, "text"),
        ({"files": ["stdlib://**/*.py"]}, "text"),
        ({"files": ["data/*"]}, "text"),
        ({"files": ["a.gz"]}, "text"),
        ({"files": ["a.json", "b.ndjson", "C.JSON.gz", "d.jsonl"]}, "jsonl"),
        ({"files": ["a.py", "README", "b.txt.gz", "stdlib://**"]}, "text"),
        ({"files": ["a.jsonl", "b.csv"]}, ""),
        ({"files": ["a.py", "b.json"]}, ""),
        ({"files": ["a.csv"], "validation_files": ["b.tsv"]}, ""),
        ({"files": ["a.csv", "dataset://owner/name"]}, "dataset"),
        ({"files": ["a.csv"], "validation_files": ["dataset://owner/name"]}, "csv"),
        ({"files": ["data/*.csv"]}, "csv"),
        ({"files": ["A.CSV"]}, "csv"),
        ({"files": ["s3://b/x.v2.tsv.gz"]}, "tsv"),
        ({"files": [f"blob://{'a' * 64}/deep_x.jsonl.zst"]}, "jsonl"),
        ({"files": ["x.parquet.bz2"]}, "parquet"),
        ({"files": ["x.csv.xz"]}, "csv"),
        ({"files": ["dataset://owner/name?split=test"]}, "dataset"),
        ({"files": ["hf://datasets/a/b/x.parquet"]}, "parquet"),
        ({"files": ["a.csv"], "target_files": ["b.csv"]}, "parallel"),
    ],
    ids=str,
)
def test_format_by_name(fields, form):
    assert format_of(DataSpec(**fields)) == form


def test_data():
    assert resolve(job("bert", data=DataSpec(files=["a.csv"]))).data.header
    assert not resolve(job("bert")).data.HasField("header")
    apart = DataSpec(files=["a.txt"], validation_files=["b.txt"])
    assert not resolve(job("bert", data=apart)).data.HasField("held_out")


def test_a_run_from_random_weights_is_told_in_steps():
    train = resolve(job("gpt")).train
    assert (train.steps, train.HasField("epochs"), train.eval_every) == (1000, False, 100)
    spec = resolve(job("gpt", train=TrainSpec(epochs=20)))
    assert (spec.train.HasField("steps"), spec.train.eval_every_ratio) == (False, 0.1)
    assert (spec.publish.every_ratio, spec.publish.HasField("every")) == (0.2, False)
    assert not spec.train.HasField("min_steps")
    # What is told in steps stays, whatever the length is told in.
    spec = resolve(job("gpt", train=TrainSpec(epochs=20, eval_every=0)))
    assert not spec.train.HasField("eval_every_ratio")
    # A least number of steps belongs to epochs.
    assert resolve(job("gpt", train=TrainSpec(min_steps=7))).train.epochs == 3


def test_a_run_from_a_version_is_told_in_epochs():
    spec = resolve(job("bert", "classification", model=STARTED))
    train = spec.train
    assert (train.epochs, train.HasField("steps"), train.batch_size) == (3, False, 16)
    assert (train.min_steps, train.eval_every_ratio, spec.publish.every_ratio) == (500, 0.1, 0.2)
    assert (train.warmup_ratio, train.min_lr) == (0.1, 0)
    assert (train.weight_decay, train.beta2) == (0.01, 0.999)
    assert not spec.model.HasField("dropout")  # The version's.
    assert resolve(job("bert", model=STARTED, train=TrainSpec(steps=7))).train.eval_every == 1


STARTED = {"init": {"from": "earlier"}}
ADAPTERS, HEADS = TuningSpec(method="lora"), TuningSpec(method="frozen")
PARTS = TuningSpec(method="frozen", freeze=["encoder"])


@pytest.mark.parametrize(
    ("family", "kind", "model", "tuning", "rate"),
    [
        # From scratch: by width, and by where the norms stand.
        ("gpt", "", {}, None, 1e-3),
        ("gpt", "", {"preset": "gpt2"}, None, 6e-4),
        ("gpt", "", {"preset": "gpt2-xl"}, None, 2e-4),
        ("gpt", "", {"preset": "llama-8b"}, None, 1.2e-4),
        ("bert", "", {"preset": "bert-mini"}, None, 1e-3),
        ("bert", "", {"preset": "bert-base"}, None, 1e-4),
        ("bert", "", {"preset": "bert-base", "norm_order": "pre"}, None, 6e-4),
        ("transformer", "", {"preset": "transformer-base"}, None, 5e-4),
        ("bert_gpt", "", {"preset": "bert-gpt-base"}, None, 1e-4),
        # From a version: of a width that nobody has told, then of one that the spec repeats.
        ("bert", "classification", STARTED, None, 2e-5),
        ("bert", "masked_language_modeling", STARTED, None, 5e-5),
        ("bert_gpt", "joint", STARTED, None, 5e-5),
        ("transformer", "translation", STARTED, None, 5e-5),
        ("gpt", "language_modeling", STARTED, None, 5e-5),
        ("gpt", "classification", STARTED, None, 5e-5),
        ("bert_gpt", "sentiment", STARTED, None, 2e-5),
        ("bert", "classification", {**STARTED, "width": 128}, None, 1e-3),
        ("bert", "classification", {**STARTED, "width": 256}, None, 3e-4),
        ("bert", "classification", {**STARTED, "width": 512}, None, 1e-4),
        ("gpt", "language_modeling", {**STARTED, "width": 4096}, None, 2e-5),
        # Adapters, and new heads alone, stand more.
        ("bert", "classification", STARTED, ADAPTERS, 2e-4),
        ("gpt", "language_modeling", {**STARTED, "width": 8192}, ADAPTERS, 1e-4),
        ("bert", "classification", {**STARTED, "width": 128}, ADAPTERS, 1e-3),
        ("bert", "classification", STARTED, HEADS, 1e-3),
        ("bert_gpt", "translation", {"init": {"encoder": "a"}}, PARTS, 5e-5),
    ],
)
def test_learning_rates(family, kind, model, tuning, rate):
    spec = resolve(job(family, kind, model=model, tuning=tuning))
    assert spec.train.lr == rate
    assert spec.train.min_lr == pytest.approx(0 if "init" in model else rate / 10)


@pytest.mark.parametrize(
    ("fields", "opened"),
    [
        ({"model": STARTED}, True),
        ({"model": STARTED, "tuning": ADAPTERS}, True),
        ({"model": STARTED, "train": TrainSpec(lr=1e-3)}, False),
        ({"model": {**STARTED, "width": 64}}, False),
        # All new heads learn alike, and what starts from nothing has a width of its own.
        ({"model": STARTED, "tuning": {"method": "frozen"}}, False),
        ({}, False),
    ],
)
def test_the_rate_waits_for_a_width_just_if_it_follows_one(fields, opened):
    assert rate_is_open(job("bert", "classification", **fields)) == opened


def test_the_width_of_the_version_is_told_at_submit():
    spec = job("bert", "classification", model=STARTED)
    assert resolve(spec, width=256).train.lr == 3e-4
    assert resolve(resolve(spec, width=256)) == resolve(spec, width=256)
    stated = job("bert", "classification", model={**STARTED, "width": 768})
    assert resolve(stated, width=256).train.lr == 2e-5


@pytest.mark.parametrize(
    ("family", "kind", "dropout", "batch", "decay", "beta2", "warmup"),
    [
        ("gpt", "language_modeling", 0, 8, 0.1, 0.95, 0.05),
        ("gpt", "classification", 0.1, 16, 0.1, 0.95, 0.05),
        ("bert", "masked_language_modeling", 0, 8, 0.01, 0.98, 0.1),
        ("bert", "question_answering", 0.1, 16, 0.01, 0.98, 0.1),
        ("transformer", "translation", 0.1, 16, 0.01, 0.98, 0.1),
        ("bert_gpt", "joint", 0, 8, 0.01, 0.98, 0.1),
        ("bert_gpt", "token_classification", 0.1, 16, 0.01, 0.98, 0.1),
    ],
)
def test_the_rest_from_scratch(family, kind, dropout, batch, decay, beta2, warmup):  # noqa: PLR0917
    spec = resolve(job(family, kind))
    assert spec.model.dropout == pytest.approx(dropout)
    train = spec.train
    assert (train.batch_size, train.weight_decay, train.beta2) == (batch, decay, beta2)
    assert train.warmup_ratio == warmup
