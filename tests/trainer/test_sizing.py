"""Sizes that a spec states beside those of the versions that it starts from: no torch, no files."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from tessera.models.registry import FAMILIES
from tessera.trainer.failure import UserError
from tessera.trainer.spec import settings_of_json
from tessera.trainer.versions.sizing import draft
from tessera.trainer.versions.starting_point import InitVersion, StartingPoint

SIZES = {"layers": 1, "heads": 2, "width": 16, "context": 32}


def drafted(model, family="bert", **versions):
    """The model of a job that starts from versions: part to what their family's config is made of.

    Args:
        model: of the spec, without `init`.
        family: of the model, and of the versions' models unless they name one.
        versions: sizes of each part's model.
    """
    sources = []
    for part, sizes in versions.items():
        version = SimpleNamespace(set=f"default/{part}", number=1)
        known = FAMILIES[sizes.pop("family", family)]
        config = known.config({**SIZES, **sizes}, vocab_size=99)
        sources.append(
            InitVersion(part=part, manifest=SimpleNamespace(version=version), config=config)
        )
    init = {part: part for part in versions}
    spec = {
        "name": "a",
        "model": {"family": family, "init": init, **model},
        "data": {"files": ["x"]},
    }
    return draft(settings_of_json(json.dumps(spec)), StartingPoint(sources=tuple(sources)))


def dropouts(stack):
    return stack.dropout, stack.attention_dropout


def test_dropout_is_the_versions_unless_the_spec_says_another():
    version = {"dropout": 0.1, "attention_dropout": 0.1}
    assert dropouts(drafted({}, **{"from": dict(version)}).encoder) == (0.1, 0.1)
    stated = {"dropout": 0.2, "attention_dropout": 0.0}
    assert dropouts(drafted(stated, **{"from": dict(version)}).encoder) == (0.2, 0.0)
    only = {"attention_dropout": 0.5}
    assert dropouts(drafted(only, **{"from": dict(version)}).encoder) == (0.1, 0.5)


def test_dropout_of_a_part_is_that_of_the_stack_beside_it_too():
    version = {"family": "bert", "dropout": 0.1, "attention_dropout": 0.3}
    model = drafted({}, "bert_gpt", encoder=dict(version))
    assert [dropouts(stack) for stack in model.stacks] == [(0.1, 0.3)] * 2
    model = drafted({"attention_dropout": 0.0}, "bert_gpt", encoder=dict(version))
    assert [dropouts(stack) for stack in model.stacks] == [(0.1, 0.0)] * 2


def test_what_weights_depend_on_may_be_repeated():
    rotary = {"positions": "rotary", "rotary_base": 500_000.0, "norm_epsilon": 1e-6}
    model = drafted({"rotary_base": 500_000, "norm_epsilon": 1e-6}, "gpt", **{"from": rotary})
    assert (model.decoder.rotary_base, model.decoder.norm_epsilon) == (500_000, 1e-6)


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("norm_epsilon", 1e-5, "whose norm_epsilon is 1e-12"),
        ("rotary_base", 500_000, "whose rotary_base is 10000.0"),
        ("norm", "rms", "whose norm is layer"),
    ],
)
def test_what_weights_depend_on_may_not_be_another(field, value, said):
    with pytest.raises(UserError) as caught:
        drafted({field: value}, **{"from": {"positions": "rotary"}})
    assert (caught.value.reason, caught.value.violations[0].field) == (
        "INIT_MISMATCH",
        f"model.{field}",
    )
    assert said in caught.value.message
