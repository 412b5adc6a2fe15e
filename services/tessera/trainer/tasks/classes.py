"""Measures of decisions between classes, whether texts have them or tokens."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from tessera.trainer.tasks.scores import macro_f1


def measure_classes(guessed: Tensor, wanted: Tensor) -> Tensor:
    """[2 + 3 C] float64: decisions that are all right, decisions; hits, guesses, wishes by class.

    Args:
        guessed: [N, C] bool.
        wanted: [N, C] bool.
    """
    right = (guessed == wanted).all(dim=1)
    parts = [right.sum()[None], right.new_tensor([len(right)], dtype=torch.int64)]
    parts += [part.sum(dim=0) for part in (guessed & wanted, guessed, wanted)]
    return torch.cat(parts).double()


def class_metrics(sums: Sequence[float]) -> dict[str, float]:
    """What `measure_classes` summed up means."""
    right, total, *rest = sums
    classes = len(rest) // 3
    by_class = (rest[:classes], rest[classes : 2 * classes], rest[2 * classes :])
    return {"accuracy": right / total, "macro_f1": macro_f1(*by_class)}


def one_hot(numbers: Tensor, classes: int) -> Tensor:
    """[N, C] bool of [N] classes."""
    return functional.one_hot(numbers, classes).bool()
