"""Losses against torch's own, on logits made by hand; padding changes none of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.trainer.tasks.conftest import model
from tests.trainer.tasks.examples import JUDGED, RECORDS, SCORED, SEVERAL, STARS, TEXT
from torch.nn import functional

from tessera.models.inputs import Inputs, Outputs
from tessera.models.registry import FAMILIES
from tessera.trainer.batch import TokenBatch
from tessera.trainer.task_settings import TaskSettings
from tessera.trainer.tasks.question_answering import best_spans
from tessera.trainer.tasks.registry import make_task
from tessera.trainer.tasks.sentence_embedding import SCALE
from training import make_settings


def task_of(kind, family="bert", **choices):
    chosen = TaskSettings(kind=kind, **choices)
    return make_task(make_settings(family=family, task=chosen))


def batch_of(counts=(1,), **targets):
    return TokenBatch(
        inputs=Inputs(torch.zeros(1, 1, dtype=torch.int64)),
        targets=targets,
        counts=counts,
        tokens=1,
    )


@pytest.mark.parametrize(
    ("kind", "family", "term"),
    [
        ("translation", "transformer", "next"),
        ("language_modeling", "gpt", "next"),
        ("masked_language_modeling", "bert", "masked"),
    ],
)
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_smoothed_losses_are_torchs_and_held_out_ones_are_not_smoothed(
    smoothing, kind, family, term
):
    logits, targets = torch.randn(7, 11), torch.arange(7)
    task = task_of(kind, family, label_smoothing=smoothing)
    batch = batch_of(**{term: targets})
    outputs = Outputs(masked=logits) if term == "masked" else Outputs(logits=logits)
    found = task.losses(outputs, batch)
    expected = functional.cross_entropy(logits, targets, reduction="sum", label_smoothing=smoothing)
    assert found.tolist() == [pytest.approx(expected.item())]
    with torch.no_grad():
        held_out = task.losses(outputs, batch)
    assert held_out.item() == pytest.approx(
        functional.cross_entropy(logits, targets, reduction="sum").item()
    )
    metrics = task.metrics(task.measure(outputs, batch).tolist())
    assert metrics["perplexity"] == pytest.approx(np.exp(held_out.item() / 7))
    assert metrics["accuracy"] == pytest.approx((logits.argmax(1) == targets).float().mean())


def test_a_loss_is_in_float32_whatever_the_logits():
    logits, targets = torch.randn(5, 300).bfloat16(), torch.arange(5)
    found = task_of("language_modeling", "gpt").losses(
        Outputs(logits=logits), batch_of(next=targets)
    )
    expected = functional.cross_entropy(logits.float(), targets, reduction="sum")
    assert found.dtype == torch.float32
    assert found.item() == expected.item()


def test_joint_training_has_two_terms():
    task = task_of("joint", "bert_gpt", masked_weight=2.0, next_weight=0.5)
    assert [(term.name, term.weight) for term in task.terms] == [("masked", 2.0), ("next", 0.5)]
    masked, logits = torch.randn(3, 9), torch.randn(5, 9)
    batch = batch_of(masked=torch.arange(3), next=torch.arange(5))
    found = task.losses(Outputs(logits=logits, masked=masked), batch)
    assert found.tolist() == [
        pytest.approx(
            functional.cross_entropy(part, torch.arange(len(part)), reduction="sum").item()
        )
        for part in (masked, logits)
    ]


def test_any_number_of_classes_is_a_loss_each():
    logits = torch.tensor([[2.0, -1.0, 0.5], [0.0, 0.0, -3.0]])
    wanted = torch.tensor([[True, False, False], [False, True, False]])
    task = task_of("classification", multi_label=True)
    batch = batch_of(classes=wanted)
    found = task.losses(Outputs(logits=logits), batch).item()
    signs = torch.where(wanted, 1.0, -1.0)
    assert found == pytest.approx(torch.log1p(torch.exp(-signs * logits)).sum().item())
    right, total, *_ = task.measure(Outputs(logits=logits), batch).tolist()
    assert (right, total) == (0, 2)


def test_an_answer_is_looked_for_in_the_context_only():
    logits = torch.randn(2, 6, 2)
    allowed = torch.tensor([[1, 0, 1, 1, 1, 0], [1, 0, 0, 1, 1, 1]]).bool()
    span = torch.tensor([[2, 4], [0, 0]])
    task = task_of("question_answering")
    batch = batch_of(span=span, allowed=allowed)
    found = task.losses(Outputs(logits=logits), batch).item()
    expected = 0.0
    for row in range(2):
        places = allowed[row].nonzero()[:, 0].tolist()
        for end in range(2):
            chances = logits[row, places, end].softmax(dim=0)
            expected -= chances[places.index(int(span[row, end]))].log().item() / 2
    assert found == pytest.approx(expected)


def test_the_best_span_is_what_trying_all_finds():
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        logits = torch.randn(3, 7, 2, generator=generator)
        logits[:, 1:3] = -torch.inf
        for row, (first, last) in zip(logits, best_spans(logits).tolist(), strict=True):
            spans = [(0, 0)] + [(a, b) for a in range(3, 7) for b in range(a, 7)]
            assert (first, last) == max(spans, key=lambda at: float(row[at[0], 0] + row[at[1], 1]))


def test_spans_are_scored_by_what_they_share():
    logits = torch.full((3, 8, 2), -9.0)
    for row, (first, last) in enumerate([(2, 4), (0, 0), (5, 6)]):
        logits[row, first, 0] = logits[row, last, 1] = 9.0
    batch = batch_of(
        span=torch.tensor([[3, 4], [0, 0], [0, 0]]), allowed=torch.ones(3, 8, dtype=torch.bool)
    )
    task = task_of("question_answering")
    metrics = task.metrics(task.measure(Outputs(logits=logits), batch).tolist())
    assert metrics == {
        "exact_match": pytest.approx(1 / 3),
        "f1": pytest.approx((2 * 2 / (3 + 2) + 1 + 0) / 3),
    }


def test_partners_are_told_from_the_rest_of_the_batch():
    vectors = functional.normalize(torch.randn(8, 5), dim=-1)
    task = task_of("sentence_embedding")
    batch = batch_of(scores=torch.empty(0))
    found = task.losses(Outputs(vectors=3 * vectors), batch).item()
    similar = SCALE * vectors[:4] @ vectors[4:].T
    assert found == pytest.approx(-similar.log_softmax(dim=1).diagonal().sum().item(), rel=1e-5)
    perfect = torch.cat([torch.eye(4)] * 2)
    sums = task.measure(Outputs(vectors=perfect), batch).tolist()
    assert task.metrics(sums) == {"accuracy": 1.0}


@pytest.mark.parametrize(
    ("records", "activation", "loss"),
    [
        (JUDGED, torch.nn.Sigmoid(), torch.nn.BCEWithLogitsLoss()),
        ([{**JUDGED[0], "score": 0.25}, {**JUDGED[1], "score": 1}],
         torch.nn.Sigmoid(), torch.nn.BCEWithLogitsLoss()),
        (STARS, torch.nn.Identity(), torch.nn.MSELoss()),
        ([*JUDGED[:2], {"text": "x", "score": 1.01}], torch.nn.Identity(), torch.nn.MSELoss()),
    ],
)  # fmt: skip
def test_the_loss_of_a_score_is_that_of_a_cross_encoder(prepare, records, activation, loss):
    task, material = prepare(records, "regression")
    assert material.task.activation == type(activation).__name__.lower()
    batch = material.dataset.batch("held_out", material.dataset.held_out(0))
    wanted = batch.targets["scores"]
    logits = torch.randn(len(wanted), 1).bfloat16()
    outputs = Outputs(logits=logits)
    found = task.losses(outputs, batch)
    assert found.dtype == torch.float32
    assert found.item() / len(wanted) == pytest.approx(loss(logits[:, 0].float(), wanted).item())
    scores = activation(logits[:, 0].float())
    metrics = task.metrics(task.measure(outputs, batch).tolist())
    assert metrics == {
        "mse": pytest.approx(functional.mse_loss(scores, wanted).item(), rel=1e-5),
        "pearson": pytest.approx(np.corrcoef(scores, wanted)[0, 1], abs=1e-6),
    }


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
]


@pytest.mark.parametrize(
    ("family", "kind", "records", "choices"),
    [case for case in CASES if case[2:] != (RECORDS["sentence_embedding"], {})],
)
def test_padding_changes_nothing(prepare, family, kind, records, choices):
    """Losses and measures of a batch are the sums of those of its samples alone."""
    task, material = prepare(records, kind, family, **choices)
    net = model(family, material).eval()
    dataset = material.dataset

    @torch.no_grad()
    def judged(keys):
        batch = dataset.batch("train", keys)
        outputs = net(batch.inputs)
        sums = torch.cat([task.losses(outputs, batch).double(), task.measure(outputs, batch)])
        return sums, np.array([*batch.counts, batch.tokens])

    keys = dataset.train(0, 8)
    whole, counted = judged(keys)
    apart = [judged(keys[at : at + 1]) for at in range(8)]
    torch.testing.assert_close(sum(sums for sums, _ in apart), whole, rtol=1e-5, atol=1e-4)
    assert sum(counts for _, counts in apart).tolist() == counted.tolist()
