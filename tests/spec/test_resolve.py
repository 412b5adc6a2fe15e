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
    ModelSpec,
    ParallelSpec,
    PublishSpec,
    ResourcesSpec,
    TokenizerSpec,
    TrainSpec,
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
    assert (train.lr, train.min_lr, train.warmup_steps) == (1e-3, 1e-4, 50)
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


def test_no_vocabulary_where_the_tokenizer_is_given():
    spec = resolve(small(tokenizer=TokenizerSpec(path="s3://a/tokenizer.json")))
    assert not spec.tokenizer.HasField("vocab_size")


def test_sizes_of_a_warm_start_are_those_of_the_version():
    init = InitSpec(**{"from": "other"})
    spec = resolve(small(model=ModelSpec(family="gpt", init=init, dropout=0.1)))
    assert spec.model == ModelSpec(family="gpt", init=init, dropout=0.1)
    assert not spec.train.HasField("sequence_length")
    spec = resolve(small(model=ModelSpec(family="gpt", init=init, context=32)))
    assert spec.train.sequence_length == 32


def test_accelerator_count():
    resources = ResourcesSpec(accelerator=AcceleratorSpec(type="H100"))
    assert resolve(small(resources=resources)).resources.accelerator.count == 1


def test_unknown_names():
    with pytest.raises(errors.InvalidArgumentError, match="there are: gpt") as caught:
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


specs = st.builds(
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
    model=st.builds(
        ModelSpec,
        family=st.just("gpt"),
        preset=st.sampled_from(["", *FAMILIES["gpt"].presets]),
        layers=maybe(st.integers(1, 1024)),
        heads=maybe(st.integers(1, 1024)),
        width=maybe(st.integers(1, 131072)),
        context=maybe(st.integers(2, 1 << 24)),
        dropout=maybe(st.floats(0, 0.99)),
        tie_embeddings=maybe(st.booleans()),
        init=maybe(st.builds(lambda name: InitSpec(**{"from": name}), st.just("other@3"))),
    ),
    tokenizer=maybe(
        st.builds(
            TokenizerSpec,
            vocab_size=maybe(st.integers(257, 1 << 20)),
            path=st.sampled_from(["", "s3://a/b"]),
        )
    ),
    data=st.builds(
        DataSpec,
        files=st.lists(st.sampled_from(["a b.txt", "stdlib://**", "s3://a/*"]), min_size=1),
        held_out=maybe(st.floats(0.01, 0.99)),
        max_bytes=maybe(st.integers(1, 1 << 60)),
    ),
    train=maybe(
        st.builds(
            TrainSpec,
            steps=maybe(st.integers(1, 10**8)),
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
    publish=maybe(st.builds(PublishSpec, set=st.sampled_from(["", "s"]))),
)


@settings(deadline=None, max_examples=60)
@given(specs)
def test_resolving_twice_is_resolving_once(spec):
    before = spec.SerializeToString(deterministic=True)
    once = resolve(spec)
    assert spec.SerializeToString(deterministic=True) == before
    assert resolve(once) == once


@settings(deadline=None, max_examples=60)
@given(specs)
def test_what_is_dumped_is_read_back(spec):
    resolved = resolve(spec)
    text = dump(resolved)
    assert parse_document(text, "x.yaml", None).spec == resolved


@settings(deadline=None, max_examples=60)
@given(specs)
def test_a_spec_is_judged_the_same_before_and_after_resolving(spec):
    def verdict(spec):
        try:
            check(spec, uploaded=False)
        except errors.InvalidArgumentError as error:
            return error.reason, error.message, error.violations
        return None

    assert verdict(spec) == verdict(resolve(spec))
