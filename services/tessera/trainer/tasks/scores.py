"""What counts of right and wrong decisions mean. Pure."""

from __future__ import annotations

from collections.abc import Sequence


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


def pearson(sums: Sequence[float]) -> float:
    """Correlation of pairs (x, y); 0 where either does not vary.

    Args:
        sums: of 1, x, y, x², y² and xy.
    """
    n, x, y, xx, yy, xy = sums
    spread = max(0.0, n * xx - x * x) * max(0.0, n * yy - y * y)
    return float((n * xy - x * y) / spread**0.5) if spread > 0 else 0.0
