"""What the API lets a spec choose is what the models know."""

from __future__ import annotations

import re

import pytest

from tessera import errors
from tessera.models.config import ACTIVATIONS, NORM_ORDERS, NORMS, POSITIONS
from tessera.models.registry import FAMILIES
from tessera.models.sizes import SIZES
from tessera.models.task import POOLINGS
from tessera.models.tasks import TASKS
from tessera.spec import json_schema
from tessera.spec.rules.tokenizer import least_size
from tessera.spec.schema import descriptions
from tessera.text import training


def test_traits_are_those_of_the_api():
    task = json_schema()["properties"]["task"]["properties"]
    fields = {name for kind in TASKS.values() for name in kind.fields}
    assert fields == set(task) - {"kind"}
    told = descriptions()["tessera.api.controller.v1.DataSpec.columns"]
    roles = {role for kind in TASKS.values() for role in kind.roles}
    assert roles == set(re.findall(r"`(\w+)`", told))
    formats = {form for kind in TASKS.values() for form in kind.formats}
    assert formats == set(json_schema()["properties"]["data"]["properties"]["format"]["enum"])


def test_choices_of_the_api_are_those_of_the_models():
    schema = json_schema()["properties"]
    model = schema["model"]["properties"]
    assert set(schema["task"]["properties"]["kind"]["enum"]) == set(TASKS)
    assert schema["task"]["properties"]["pooling"]["enum"] == list(POOLINGS)
    assert model["norm"]["enum"] == list(NORMS)
    assert model["norm_order"]["enum"] == list(NORM_ORDERS)
    assert model["positions"]["enum"] == list(POSITIONS)
    assert model["activation"]["enum"] == list(ACTIVATIONS)
    assert set(model) - {"family", "preset", "init"} == set(SIZES)
    assert schema["tokenizer"]["properties"]["kind"]["enum"] == list(training.KINDS)


@pytest.mark.parametrize("family", FAMILIES)
def test_smallest_vocabulary_is_the_trainers(family):
    least = least_size("byte_bpe", family)
    learned = training.train("byte_bpe", iter(["a"]), least, FAMILIES[family].special)
    assert learned.vocab_size == least
    with pytest.raises(errors.InvalidArgumentError) as caught:
        training.train("byte_bpe", iter(["a"]), least - 1, FAMILIES[family].special)
    assert caught.value.reason == "VOCABULARY_TOO_SMALL"
