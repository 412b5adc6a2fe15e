"""Every family learns every task that it has."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.trainer.tasks.conftest import model
from tests.trainer.tasks.examples import RECORDS, SCORED, SEVERAL, STARS, TEXT

from tessera.models.registry import FAMILIES

pytestmark = pytest.mark.processes

CASES = [
    *(
        (family, kind, RECORDS[kind], {})
        for family, known in FAMILIES.items()
        for kind in known.tasks
    ),
    ("bert_gpt", "joint", TEXT, {}),
    ("bert", "classification", SEVERAL, {"multi_label": True}),
    ("bert", "sentence_embedding", SCORED, {}),
    ("bert", "regression", STARS, {}),
    ("transformer", "translation", RECORDS["translation"], {"label_smoothing": 0.1}),
]


@pytest.mark.parametrize(("family", "kind", "records", "choices"), CASES)
def test_the_loss_falls(prepare, family, kind, records, choices):
    task, material = prepare(records, kind, family, **choices)
    net = model(family, material)
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-2)
    weights = torch.tensor([term.weight for term in task.terms])
    losses = []
    for step in range(20):
        # The same samples, drawn anew.
        keys = material.dataset.train(0, 8) + np.array([0, 8 * step])
        batch = material.dataset.batch("train", keys)
        counts = torch.tensor(batch.counts)
        terms = task.losses(net(batch.inputs), batch)
        loss = (terms / counts * weights).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append((terms / counts).detach())
    first, last = torch.stack(losses[:3]).mean(dim=0), torch.stack(losses[-3:]).mean(dim=0)
    assert (last < 0.9 * first).all()
    names = set(task.metrics(task.measure(net(batch.inputs), batch).tolist()))
    assert set(task.baseline(material, 0).metrics) <= names
