"""A version of a model in memory, ready to run."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from tessera.models.config import ModelConfig
from tessera.models.model import Model
from tessera.models.registry import family
from tessera.text.decoder import DecodeStream
from tessera.text.frame import Frame
from tessera.text.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LoadedModel:
    """One version.

    Args:
        set: `{tenant}/{name}`.
        version: its number.
        config: sizes, choices and task.
        module: with its weights, in eval mode.
        tokenizer: None if the version brought none; it then takes and gives token ids only.
    """

    set: str
    version: int
    config: ModelConfig
    module: Model
    tokenizer: Tokenizer | None

    @property
    def end_id(self) -> int | None:
        """The token that ends a text; None: there is none."""
        if self.config.end_id >= 0:
            return self.config.end_id
        return None if self.tokenizer is None else self.tokenizer.end_id

    @property
    def end_ids(self) -> frozenset[int]:
        """All tokens that end what it writes."""
        one = self.end_id
        return frozenset((*self.config.other_end_ids, *(() if one is None else (one,))))

    @property
    def start_id(self) -> int | None:
        """The token that begins what an encoder reads; None: there is none."""
        if self.config.start_id >= 0:
            return self.config.start_id
        return None if self.tokenizer is None else self.tokenizer.start_id

    @property
    def frame(self) -> Frame:
        """What stands around the texts that it reads, as in training.

        What its tokenizer states; else start x end, or start a end b end, without the start where
        its family reads none.
        """
        if self.tokenizer is not None and self.tokenizer.own_frame is not None:
            return self.tokenizer.own_frame
        start = _some(self.start_id) if family(self.config.family).starts else ()
        end = _some(self.end_id)
        return Frame(before=start, between=end, after=end)

    @property
    def opening(self) -> tuple[int, ...]:
        """What a decoder reads or writes before a text, beside the token that it begins with."""
        first = self.config.first_id if len(self.config.stacks) > 1 else -1
        return () if self.tokenizer is None else self.tokenizer.opening(first)

    @property
    def mask_id(self) -> int | None:
        """The token that hides another one; None: there is none."""
        if self.config.mask_id >= 0:
            return self.config.mask_id
        return None if self.tokenizer is None else self.tokenizer.mask_id

    def decoder(self, *, continues: bool) -> DecodeStream | None:
        """Turns tokens that the model writes into text; None without a tokenizer.

        Args:
            continues: the text goes on with a prompt.
        """
        return None if self.tokenizer is None else self.tokenizer.decoder(continues=continues)

    @property
    def tensor(self) -> torch.Tensor:
        """Any parameter: for the element type and the device."""
        return next(self.module.parameters())


def _some(token: int | None) -> tuple[int, ...]:
    return () if token is None else (token,)
