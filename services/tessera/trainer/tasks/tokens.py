"""Losses and measures of predicted tokens, whichever task predicts them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

_LARGEST = 700.0
"""Nats whose exponential is still a float."""


def cross_entropy(logits: Tensor, targets: Tensor, smoothing: float = 0.0) -> Tensor:
    """Sum over all targets, in nats; smoothed only while a model learns from it.

    What is measured on held-out samples would otherwise be no likelihood, and could not be
    compared with a baseline's.

    Args:
        logits: [*, C].
        targets: [*] int64, flat or not.
        smoothing: share of the probability that is spread over all C (Szegedy et al., 2016).
    """
    return functional.cross_entropy(
        # On a CPU autocast would leave the softmax in bfloat16.
        logits.flatten(0, -2).float(),
        targets.flatten(),
        reduction="sum",
        label_smoothing=smoothing if torch.is_grad_enabled() else 0.0,
    )


def measure_tokens(logits: Tensor, targets: Tensor) -> Tensor:
    """[3] float64: nats, right guesses, and targets.

    Args:
        logits: [*, V].
        targets: [*] int64, flat or not.
    """
    nats = cross_entropy(logits, targets)
    right = (logits.flatten(0, -2).argmax(dim=-1) == targets.flatten()).sum()
    return torch.stack([nats.double(), right.double(), nats.new_tensor(targets.numel()).double()])


def token_metrics(sums: Sequence[float]) -> dict[str, float]:
    """What `measure_tokens` summed up means."""
    nats, right, targets = sums
    return {"perplexity": perplexity(nats / targets), "accuracy": right / targets}


def perplexity(nats: float) -> float:
    """Of a mean loss; a very bad one is infinite."""
    return math.exp(nats) if nats < _LARGEST else math.inf
