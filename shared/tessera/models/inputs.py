"""What goes into a model and what comes out: tuples, so that wrappers see the tensors in them."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Inputs(NamedTuple):
    """Sequences of tokens; other modalities get inputs of their own.

    Args:
        tokens: [B, T] int64, what the encoder reads, or the decoder where there is no encoder.
        mask: [B, T] bool, False where `tokens` is filled up; None: nowhere.
        index: [N] int64, places of the real tokens among B * T; given beside `mask`, the encoder
            computes them only. Not for models whose shapes must be static.
        segments: [B, T] int64, the segment of every token; None: 0.
        decoder_tokens: [B, U] int64, what a decoder beside an encoder has written so far.
        masked_tokens: [B, T] int64, `tokens` with some of them hidden: what the encoder reads a
            second time where both losses are trained jointly.
        at: [M] int64, places among the B * U (or B * T) of the decoder where the next token is
            wanted; None: all.
        masked_at: [K] int64, places among B * T where the hidden token is wanted; None: all.
        pooled: [B, T] bool, the tokens that count where a text is stood for; None: those of `mask`.
    """

    tokens: Tensor
    mask: Tensor | None = None
    index: Tensor | None = None  # type: ignore[assignment] # hides a method of tuples
    segments: Tensor | None = None
    decoder_tokens: Tensor | None = None
    masked_tokens: Tensor | None = None
    at: Tensor | None = None
    masked_at: Tensor | None = None
    pooled: Tensor | None = None


class Outputs(NamedTuple):
    """What the heads say; only what the task has is there.

    Args:
        logits: of next tokens ([B, U, V], or [M, V] with `at`), of classes ([B, C]), of the
            classes of every token ([B, T, C]), or of being start and end ([B, T, 2]).
        masked: [B, T, V], or [K, V] with `masked_at`: logits of hidden tokens.
        vectors: [B, width] embeddings of the texts.
    """

    logits: Tensor | None = None
    masked: Tensor | None = None
    vectors: Tensor | None = None
