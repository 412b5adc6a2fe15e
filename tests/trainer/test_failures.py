"""Runs that fail on one rank: the guilty one is named, the others say that they suffered."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.processes

CODE = """
import torch

class Own:
    def __init__(self, context, kind):
        self.context, self.kind, self.calls = context, kind, 0

    def loss(self, model, batch):
        self.calls += 1
        logits = model(batch.inputs).logits.flatten(0, 1)
        loss = torch.nn.functional.cross_entropy(
            logits, batch.targets["next"].flatten(), reduction="sum")
        if self.context.rank == 1 and self.calls == 3:
            if self.kind == "raises":
                return {}["a mistake of mine"]
            if self.kind == "nan":
                return loss * float("nan")
            torch.empty(1 << 50)
        return loss

def raises(context): return Own(context, "raises")
def nan(context): return Own(context, "nan")
def hungry(context): return Own(context, "hungry")
def nothing(context): return object()
def fine(context): return None
"""


@pytest.fixture
def own(texts, tmp_path, ranks):
    """Runs a job with a function of that code."""
    (tmp_path / "own_code.py").write_text(CODE)

    def run(function: str):
        told = ranks.spec(
            texts, entrypoint=f"own_code:{function}", code=str(tmp_path / "own_code.py")
        )
        return ranks.run({"spec": told}, tmp_path / function)

    return run


@pytest.mark.parametrize(
    ("function", "category", "reason"),
    [
        ("raises", "USER", "ENTRYPOINT_FAILED"),
        ("nan", "USER", "LOSS_NOT_FINITE"),
        ("hungry", "OUT_OF_MEMORY", "OUT_OF_MEMORY"),
    ],
)
def test_the_guilty_rank_says_what_happened(function, category, reason, own):
    result = own(function)
    guilty, other = result.ranks[1], result.ranks[0]
    assert (guilty["category"], guilty["reason"]) == (category, reason), guilty
    assert not guilty["collateral"]
    assert other["collateral"], other
    if function == "raises":
        assert '{}["a mistake of mine"]' in guilty["traceback"]
        assert guilty["traceback"].startswith("Traceback")
    if function == "nan":
        assert "the loss of rank 1 is not finite at step 3" in guilty["message"]


@pytest.mark.parametrize(
    ("function", "reason"),
    [("nothing", "ENTRYPOINT_FAILED"), ("absent", "ENTRYPOINT_NOT_FOUND")],
)
def test_an_entrypoint_that_cannot_be_used(function, reason, own):
    result = own(function)
    assert {(rank["category"], rank["reason"]) for rank in result.ranks} == {("USER", reason)}
