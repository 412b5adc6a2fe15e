"""Which model answers what, and what is said where it does not."""

from __future__ import annotations

import pytest

from tessera import errors
from tessera.api.inference.v1 import inference_pb2 as pb
from tessera.models.registry import FAMILIES

from .served import ask, generate

REQUESTS = {
    "Translate": {"inputs": [pb.Input(text="def")]},
    "Classify": {"inputs": [pb.Input(text="def")]},
    "FillMask": {"inputs": [pb.Input(text="def [MASK]")]},
    "Answer": {"questions": [pb.Question(question=pb.Input(text="a"), context=pb.Input(text="b"))]},
    "Embed": {"inputs": [pb.Input(text="def")]},
    "Score": {"texts": [pb.ScoredText(context=pb.Input(text="a"), target=pb.Input(text="b"))]},
}
MODELS = [(family.name, task) for family in FAMILIES.values() for task in family.tasks]


@pytest.mark.parametrize(("family", "task"), MODELS)
async def test_a_model_answers_what_it_says_and_nothing_else(replica, tiny, family, task):
    model = tiny.model(family=family, task=task, labels=("x", "y"))
    it = await replica(model)
    described = await it.inference.GetModel(
        pb.GetModelRequest(model="tiny"), metadata=it.metadata, timeout=5
    )
    assert (described.family, described.task) == (family, task)
    assert list(described.labels) == ["x", "y"]
    assert described.parameters == sum(p.numel() for p in model.module.parameters())
    assert described.width == (32 if task == "sentence_embedding" else 0)
    assert described.methods
    answered = []
    for method, fields in REQUESTS.items():
        try:
            await ask(it, method, **fields)
            answered.append(method)
        except errors.FailedPreconditionError as error:
            refused(error, method, described)
    try:
        await generate(it, text="def", max_tokens=2)
        answered.append("Generate")
    except errors.FailedPreconditionError as error:
        refused(error, "Generate", described)
    assert sorted(answered) == sorted(described.methods)


def refused(error, method, described):
    assert error.reason == "METHOD_NOT_SERVED"
    assert error.violations[0].field == "model"
    assert method in error.message
    assert described.task in error.message
    assert all(able in error.message for able in described.methods)
    assert error.metadata["methods"].split(",") == list(described.methods)
