"""Defaults: the documented ones, once and for all."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tessera import errors
from tessera.api.controller.v1.spec_pb2 import (
    AcceleratorSpec,
    DataSpec,
    InitSpec,
    JobSpec,
    LoRASpec,
    ModelSpec,
    ParallelSpec,
    PublishSpec,
    ResourcesSpec,
    TaskSpec,
    TokenizerSpec,
    TrainSpec,
    TuningSpec,
)
from tessera.models.registry import FAMILIES
from tessera.spec import check, dump, resolve
from tessera.spec.document import parse_document


def small(**fields) -> JobSpec:
    model = fields.pop("model", ModelSpec(family="gpt"))
    return JobSpec(name="demo", model=model, data=DataSpec(files=["stdlib://**/*.py"]), **fields)


def test_documented_defaults():
    spec = resolve(small())
    assert (spec.kind, spec.queue, spec.priority, spec.retries) == ("train", "default", 0, 2)
    assert (spec.resources.workers, spec.resources.cpus_per_worker) == (1, 1)
    assert not spec.resources.HasField("accelerator")
    assert (spec.tokenizer.kind, spec.tokenizer.vocab_size) == ("byte_bpe", 4096)
    assert (spec.data.format, spec.data.held_out, spec.data.HasField("max_bytes")) == (
        "text",
        0.05,
        False,
    )
    train = spec.train
    assert (train.steps, train.batch_size, train.grad_accumulation) == (1000, 8, 1)
    assert not train.HasField("epochs")
    assert (train.lr, train.min_lr, train.warmup_ratio) == (1e-3, 1e-4, 0.05)
    assert not train.HasField("warmup_steps")
    assert (train.weight_decay, train.beta1, train.beta2, train.clip_norm) == (0.1, 0.9, 0.95, 1)
    assert (train.precision, train.seed) == ("auto", 0)
    assert (train.eval_every, train.eval_batches, train.log_every) == (100, 20, 10)
    assert train.sequence_length == spec.model.context
    assert spec.model.ff_width == 4 * spec.model.width
    assert (spec.model.dropout, spec.model.tie_embeddings) == (0, True)
    assert spec.parallel.strategy == "fsdp"
    assert (spec.publish.set, spec.publish.every, spec.publish.keep) == ("demo", 200, 3)


def test_what_is_set_stays_even_where_it_is_zero():
    spec = resolve(
        small(
            model=ModelSpec(family="gpt", tie_embeddings=False, ff_width=12),
            train=TrainSpec(warmup_steps=0, weight_decay=0, clip_norm=0, eval_every=0),
            publish=PublishSpec(set="mine", every=0),
            retries=0,
        )
    )
    assert not spec.model.tie_embeddings
    assert spec.model.ff_width == 12
    assert (spec.train.warmup_steps, spec.train.weight_decay, spec.train.clip_norm) == (0, 0, 0)
    assert spec.train.eval_every == 0
    assert (spec.publish.set, spec.publish.every, spec.retries) == ("mine", 0, 0)


def test_preset_and_what_wins_over_it():
    spec = resolve(small(model=ModelSpec(family="gpt", preset="gpt2", layers=3)))
    sizes = FAMILIES["gpt"].presets["gpt2"]
    assert spec.model.layers == 3
    assert spec.model.width == sizes["width"]
    assert spec.model.ff_width == 4 * sizes["width"]
    assert spec.train.sequence_length == sizes["context"]


def test_batch_is_shared_out_evenly():
    workers = resolve(small(resources=ResourcesSpec(workers=3))).train
    assert workers.batch_size == 24
    rounds = resolve(small(train=TrainSpec(grad_accumulation=3))).train
    assert rounds.batch_size == 9
    many = resolve(small(train=TrainSpec(grad_accumulation=16))).train
    assert many.batch_size == 16


def test_no_tokenizer_is_learned_where_one_is_given():
    given = TokenizerSpec(path="s3://a/tokenizer.json")
    assert resolve(small(tokenizer=given)).tokenizer == given
    init = ModelSpec(family="gpt", init=InitSpec(**{"from": "other"}))
    assert resolve(small(model=init)).tokenizer == TokenizerSpec()


@pytest.mark.parametrize(
    "init", [{"from": "other"}, {"encoder": "a", "decoder": "b"}, {"decoder": "b"}], ids=str
)
def test_sizes_of_a_warm_start_are_those_of_the_version(init):
    init = InitSpec(**init)
    spec = resolve(small(model=ModelSpec(family="bert_gpt", init=init, dropout=0.1)))
    assert spec.model == ModelSpec(family="bert_gpt", init=init, dropout=0.1)
    assert not spec.train.HasField("sequence_length")
    spec = resolve(small(model=ModelSpec(family="gpt", init=init, context=32)))
    assert spec.train.sequence_length == 32


def test_accelerator_count():
    resources = ResourcesSpec(accelerator=AcceleratorSpec(type="H100"))
    assert resolve(small(resources=resources)).resources.accelerator.count == 1


def test_unknown_names():
    with pytest.raises(
        errors.InvalidArgumentError, match="there are: bert, bert_gpt, gpt, transformer"
    ) as caught:
        resolve(small(model=ModelSpec(family="bart-like")))
    assert (caught.value.reason, caught.value.violations[0].field) == (
        "UNKNOWN_FAMILY",
        "model.family",
    )
    with pytest.raises(errors.InvalidArgumentError, match="did you mean `gpt2`") as caught:
        resolve(small(model=ModelSpec(family="gpt", preset="gpt-2")))
    assert (caught.value.reason, caught.value.violations[0].field) == (
        "UNKNOWN_PRESET",
        "model.preset",
    )


def maybe(values):
    return st.one_of(st.none(), values)


FILES = st.sampled_from(["a b.txt", "stdlib://**", "s3://a/*.csv.gz", "dataset://a/b", "x.json"])


@st.composite
def models_and_tasks(draw):
    """A family with a task that it can have; sizes as they come."""
    family = FAMILIES[draw(st.sampled_from(list(FAMILIES)))]
    model = draw(
        st.builds(
            ModelSpec,
            family=st.just(family.name),
            preset=st.sampled_from(["", *family.presets]),
            layers=maybe(st.integers(1, 1024)),
            heads=maybe(st.integers(1, 1024)),
            kv_heads=maybe(st.integers(1, 1024)),
            width=maybe(st.integers(1, 131072)),
            context=maybe(st.integers(2, 1 << 24)),
            dropout=maybe(st.floats(0, 0.99)),
            attention_dropout=maybe(st.floats(0, 0.99)),
            rotary_base=maybe(st.floats(2, 1e12)),
            norm_epsilon=maybe(st.floats(1e-15, 0.1)),
            tie_embeddings=maybe(st.booleans()),
            share_embeddings=maybe(st.booleans()),
            decoder_layers=maybe(st.integers(1, 1024)),
            positions=st.sampled_from(["", "learned", "rotary"]),
            init=maybe(st.sampled_from([InitSpec(**{"from": "o@3"}), InitSpec(encoder="a")])),
        )
    )
    task = st.builds(
        TaskSpec,
        kind=st.sampled_from(["", *family.tasks]),
        labels=st.lists(st.sampled_from("ab"), unique=True),
        multi_label=maybe(st.booleans()),
        mask_probability=maybe(st.floats(0.01, 0.99)),
        masked_weight=maybe(st.floats(0, 1000)),
        next_weight=maybe(st.just(0.0)),
        label_smoothing=maybe(st.floats(0, 0.99)),
        pooling=st.sampled_from(["", "first", "last", "mean"]),
        stride=maybe(st.integers(0, 1 << 24)),
        packing=maybe(st.booleans()),
    )
    return model, draw(maybe(task))


jobs = st.builds(
    JobSpec,
    name=st.from_regex(r"[a-z0-9]([-a-z0-9]{0,8}[a-z0-9])?", fullmatch=True),
    queue=st.sampled_from(["", "default"]),
    priority=st.integers(-1000, 1000),
    retries=maybe(st.integers(0, 100)),
    labels=st.dictionaries(
        st.text(st.characters(codec="utf-8"), min_size=1, max_size=8),
        st.text(st.characters(codec="utf-8"), max_size=8),
        max_size=3,
    ),
    resources=maybe(
        st.builds(
            ResourcesSpec,
            workers=maybe(st.integers(1, 65536)),
            cpus_per_worker=maybe(st.floats(0.01, 4096)),
            accelerator=maybe(
                st.builds(
                    AcceleratorSpec,
                    type=st.just("H100"),
                    count=maybe(st.floats(0.1, 64)),
                )
            ),
        )
    ),
    tokenizer=maybe(
        st.builds(
            TokenizerSpec,
            kind=st.sampled_from(["", "byte_bpe", "wordpiece", "unigram", "character"]),
            vocab_size=maybe(st.integers(8, 1 << 20)),
            path=st.sampled_from(["", "s3://a/b"]),
            lowercase=maybe(st.booleans()),
        )
    ),
    data=st.builds(
        DataSpec,
        files=st.lists(FILES, min_size=1, max_size=3),
        format=st.sampled_from(["", "text", "jsonl", "csv", "parallel", "dataset"]),
        held_out=maybe(st.floats(0.01, 0.99)),
        max_bytes=maybe(st.integers(1, 1 << 60)),
        target_files=st.lists(FILES, max_size=2),
        validation_files=st.lists(FILES, max_size=2),
        validation_target_files=st.lists(FILES, max_size=2),
        columns=st.dictionaries(st.sampled_from(["text", "label", "tags"]), st.just("x")),
        header=maybe(st.booleans()),
    ),
    tuning=maybe(
        st.builds(
            TuningSpec,
            method=st.sampled_from(["", "full", "frozen", "lora"]),
            freeze=st.lists(st.sampled_from(["encoder", "trunk.decoder"]), max_size=2),
            freeze_steps=maybe(st.integers(0, 2000)),
            lora=maybe(
                st.builds(
                    LoRASpec,
                    rank=maybe(st.integers(1, 4096)),
                    alpha=maybe(st.floats(0.1, 1000)),
                    targets=st.lists(st.just("mlp.up"), max_size=1),
                    merge=maybe(st.booleans()),
                )
            ),
        )
    ),
    train=maybe(
        st.builds(
            TrainSpec,
            steps=maybe(st.integers(1, 10**8)),
            epochs=maybe(st.floats(0, 10**6, exclude_min=True)),
            warmup_steps=maybe(st.integers(0, 1000)),
            warmup_ratio=maybe(st.floats(0, 1)),
            eval_every=maybe(st.integers(0, 1000)),
            eval_every_epochs=maybe(st.floats(1e-6, 10**6)),
            eval_every_ratio=maybe(st.floats(1e-6, 1)),
            min_steps=maybe(st.integers(1, 10**8)),
            batch_size=maybe(st.integers(1, 1 << 20)),
            grad_accumulation=maybe(st.integers(1, 65536)),
            lr=maybe(st.floats(1e-30, 10)),
            min_lr=maybe(st.floats(0, 10)),
            clip_norm=maybe(st.floats(0, 1e300)),
            seed=maybe(st.integers(0, (1 << 63) - 1)),
            precision=st.sampled_from(["", "fp32", "bf16", "auto"]),
        )
    ),
    parallel=maybe(st.builds(ParallelSpec, strategy=st.sampled_from(["", "ddp", "fsdp"]))),
    publish=maybe(
        st.builds(
            PublishSpec,
            set=st.sampled_from(["", "s"]),
            every=maybe(st.integers(0, 1000)),
            every_epochs=maybe(st.floats(1e-6, 10**6)),
            every_ratio=maybe(st.floats(1e-6, 1)),
        )
    ),
)


@st.composite
def specs(draw):
    spec = draw(jobs)
    model, task = draw(models_and_tasks())
    spec.model.CopyFrom(model)
    if task is not None:
        spec.task.CopyFrom(task)
    return spec


@settings(deadline=None, max_examples=40)
@given(specs())
def test_resolving_twice_is_resolving_once_also_by_way_of_a_file(spec):
    before = spec.SerializeToString(deterministic=True)
    once = resolve(spec)
    assert spec.SerializeToString(deterministic=True) == before
    assert resolve(once) == once
    assert parse_document(dump(once), "x.yaml", None).spec == once


@settings(deadline=None, max_examples=40)
@given(specs())
def test_a_spec_is_judged_the_same_before_and_after_resolving(spec):
    def verdict(spec):
        try:
            check(spec, uploaded=False)
        except errors.InvalidArgumentError as error:
            return error.reason, error.message, error.violations
        return None

    assert verdict(spec) == verdict(resolve(spec))
