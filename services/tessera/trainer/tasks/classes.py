"""Measures of decisions between classes, whether texts have them or tokens, and what they mean."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional


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


def f1(hits: float, guessed: float, wanted: float) -> float:
    """Harmonic mean of precision and recall; 0 where there is nothing to find or be found."""
    return 2 * hits / (guessed + wanted) if guessed + wanted else 0.0


def macro_f1(hits: Sequence[float], guessed: Sequence[float], wanted: Sequence[float]) -> float:
    """Mean F1 of the classes that were guessed or wanted at all.

    Args:
        hits: by class, how often it was guessed and wanted.
        guessed: how often it was guessed.
        wanted: how often it was wanted.
    """
    found = [
        f1(hit, guess, want)
        for hit, guess, want in zip(hits, guessed, wanted, strict=True)
        if guess + want
    ]
    return sum(found) / len(found) if found else 0.0
