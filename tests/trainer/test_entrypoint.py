"""Losses and data sets of the user's, in place of what a task brings."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.processes

CODE = """
from torch.nn import functional

class Half:
    # Every other row of the built-in batches, and the loss of next tokens alone.
    def __init__(self, context):
        self.inner = context.dataset
        self.dataset = self
        self.calls = 0

    def train(self, samples, count):
        return self.inner.train(samples, count)

    def held_out(self, count):
        return self.inner.held_out(count)[::2]

    def examples(self):
        return self.inner.examples()

    def batch(self, split, keys):
        self.calls += split == "train"
        if self.calls == 3:
            raise KeyError("a mistake of mine")
        return self.inner.batch(split, keys)

    def loss(self, model, batch):
        logits = model(batch.inputs._replace(at=None)).logits.flatten(0, 1)
        wanted = batch.inputs.decoder_tokens.flatten()
        return functional.cross_entropy(logits, wanted, reduction="sum")

def both(context):
    return Half(context)

class Own:
    def __init__(self, loss):
        self.loss = loss

def loss(context):
    return Own(Half(context).loss)
"""


@pytest.fixture
def spec(ranks, texts, tmp_path):
    (tmp_path / "own_half.py").write_text(CODE)

    def told(function, strategy):
        return ranks.spec(
            texts,
            name=f"own-{function}-{strategy}",
            model={"family": "bert_gpt", "layers": 1, "width": 16, "ff_width": 32},
            resources={"workers": 1},
            train={"steps": 3, "eval_every": 3},
            parallel={"strategy": strategy},
            entrypoint=f"own_half:{function}",
            code=str(tmp_path / "own_half.py"),
        )

    return told


@pytest.mark.parametrize("strategy", ["fsdp", "ddp"])
def test_a_loss_need_not_use_every_head(strategy, spec, alone):
    result = alone.run(spec("loss", strategy))
    assert result.lead.get("finished"), result.lead
    values = result.lead["metrics"][0][1]
    assert values["loss"] > 0
    assert not any(name.startswith("loss_") for name in values)
    held_out = next(v for _, v in result.lead["metrics"] if "held_out_loss" in v)
    assert set(held_out) == {"epoch", "held_out_examples", "held_out_loss"}


def test_a_data_set_that_raises_is_the_users(spec, alone):
    result = alone.run(spec("both", "fsdp"))
    assert result.lead["reason"] == "ENTRYPOINT_FAILED"
    assert "a mistake of mine" in result.lead["message"]
    # The batch of step 3 is made before step 2 is taken.
    assert [step for step, values in result.lead["metrics"] if "loss" in values] == [1]
