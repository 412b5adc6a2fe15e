"""What rows of families and of tasks say holds, and nobody else tells families apart."""

from __future__ import annotations

import pkgutil
import re
from pathlib import Path

import pytest
from torch import nn

from tessera.api.controller.v1.spec_pb2 import TaskSpec
from tessera.api.inference.v1 import inference_pb2 as pb
from tessera.models.inputs import Outputs
from tessera.models.registry import FAMILIES, build
from tessera.models.tasks import TASKS
from tessera.text.training import KINDS

ROOT = Path(__file__).resolve().parents[2]
OWN = ("shared/tessera/models/families/", "shared/tessera/models/huggingface/")
"""Where a family is named: in its own row, and by the architectures that hold it."""


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family(name):
    family = FAMILIES[name]
    assert family.name == name
    assert TASKS[family.default_task].needs <= family.offers
    assert family.tokenizer in KINDS
    assert family.tasks[0] == family.default_task
    assert set(family.tasks) == {kind for kind in TASKS if TASKS[kind].needs <= family.offers}


@pytest.mark.parametrize("kind", TASKS)
def test_a_kind_of_task(kind):
    row = TASKS[kind]
    assert row.name == kind
    assert any(kind in family.tasks for family in FAMILIES.values())
    trainer = pkgutil.resolve_name(row.trainer)
    for part in ("data", "losses", "measure", "metrics", "baseline"):
        assert callable(getattr(trainer, part))
    rpcs = pb.DESCRIPTOR.services_by_name["InferenceService"].methods_by_name
    assert set(row.methods) <= set(rpcs)
    assert row.answers.keys() <= set(row.methods)
    for answer in row.answers.values():
        assert callable(pkgutil.resolve_name(answer))
    assert {*row.fields, *row.defaults} <= set(TaskSpec.DESCRIPTOR.fields_by_name)
    assert row.defaults.keys() <= set(row.fields)


@pytest.mark.parametrize(
    ("name", "kind"), [(name, kind) for name, family in FAMILIES.items() for kind in family.tasks]
)
def test_heads_are_as_large_as_their_rows_say(name, kind):
    family = FAMILIES[name]
    task = family.task(kind, labels=("a", "b", "c"))
    sizes = {"layers": 1, "heads": 2, "width": 8, "tie_embeddings": False}
    config = family.config(sizes, task, vocab_size=20)
    model = build(config)
    assert isinstance(model.heads, nn.ModuleDict)
    for head in TASKS[kind].heads:
        assert head.output in Outputs._fields
        found = sum(weight.numel() for weight in model.heads[head.name].parameters())
        assert found == head.parameters(config)
        if head.labelled:
            assert model.heads[head.name].projection.out_features == 3


def test_nobody_asks_for_a_family_by_its_name():
    names = re.compile(rf"[\"'](?:{'|'.join(FAMILIES)})[\"']")
    for path in [*(ROOT / "shared").rglob("*.py"), *(ROOT / "services").rglob("*.py")]:
        place = path.relative_to(ROOT).as_posix()
        if place.startswith(OWN) or "/api/" in place:
            continue
        for number, line in enumerate(path.read_text().splitlines(), 1):
            assert not names.search(line), f"{place}:{number} knows a family by its name"
