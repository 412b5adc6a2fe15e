"""Which tokens are hidden from a model that has to guess them. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tessera.text.tokenizer import Tokenizer
from tessera.trainer.failure import UserError

Ids = NDArray[np.int64]

_HIDDEN = 0.8
_REPLACED = 0.1
"""Of the chosen tokens, the share that becomes the mask and the share that becomes another token;
the others stay as they are (Devlin et al., 2018)."""

HELD_OUT_SEED = 0
"""Seed of held-out samples, so that runs of any seed are measured by the same targets."""


@dataclass(slots=True, kw_only=True)
class Masker:
    """Hides tokens anew each time that a sample is drawn.

    Args:
        probability: share of the tokens that are targets.
        mask_id: token that hides another one.
        special: [V] bool, ids that stand for no text: they are neither hidden nor put in place of
            others.
        seed: of the run.
    """

    probability: float
    mask_id: int
    special: NDArray[np.bool_]
    seed: int
    _ordinary: Ids = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._ordinary = np.flatnonzero(~self.special)

    @classmethod
    def of(cls, tokenizer: Tokenizer, probability: float, seed: int) -> Masker:
        """The masker for the ids of a tokenizer.

        Raises:
            UserError: TOKENIZER_WITHOUT_MASK.
        """
        if tokenizer.mask_id is None:
            raise UserError.at(
                "tokenizer.path",
                "the tokenizer has no token that hides another one, such as `[MASK]` or `<mask>`; "
                "add one, or let the job learn a tokenizer",
                "TOKENIZER_WITHOUT_MASK",
            )
        special = np.zeros(tokenizer.vocab_size, dtype=np.bool_)
        special[sorted(tokenizer.special_ids)] = True
        return cls(probability=probability, mask_id=tokenizer.mask_id, special=special, seed=seed)

    def mask(self, split: str, row: Ids, sample_seed: int) -> tuple[Ids, Ids]:
        """The row as the model sees it, and the places of its targets, in order.

        Args:
            split: `train` or `held_out`.
            row: [n] tokens, at least one.
            sample_seed: seeds everything random about the sample.

        Returns:
            [n] tokens and [k] places, where k depends on the row only and is at least 1.
        """
        seed = self.seed if split == "train" else HELD_OUT_SEED
        random = np.random.Generator(np.random.Philox(key=[seed, sample_seed]))
        candidates = np.flatnonzero(~self.special[row])
        if not len(candidates):
            # A text of nothing but unknown tokens has to have a target too.
            candidates = np.arange(len(row))
        count = max(1, round(self.probability * len(candidates)))
        places = np.sort(random.choice(candidates, count, replace=False))
        fractions = random.random(count)
        seen = row.copy()
        seen[places[fractions < _HIDDEN]] = self.mask_id
        others = places[(fractions >= _HIDDEN) & (fractions < _HIDDEN + _REPLACED)]
        seen[others] = random.choice(self._ordinary, len(others))
        return seen, places


def hide(
    masker: Masker, split: str, rows: Sequence[Ids], sample_seeds: Ids, width: int = 0
) -> tuple[list[Ids], Ids]:
    """Rows with tokens hidden, and the hidden places.

    Args:
        masker: hides them.
        split: `train` or `held_out`.
        rows: of tokens.
        sample_seeds: [B] of the rows.
        width: of the batch that the places are counted in; 0: that of the rows.

    Returns:
        Rows, and [K] places among B * width.
    """
    seen, places = [], []
    for row, (tokens, sample_seed) in enumerate(zip(rows, sample_seeds.tolist(), strict=True)):
        shown, hidden = masker.mask(split, tokens, sample_seed)
        seen.append(shown)
        places.append(hidden + row * (width or len(tokens)))
    return seen, np.concatenate(places)
