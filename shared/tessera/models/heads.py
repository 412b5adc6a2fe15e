"""Heads: from hidden states to what a task wants. Each is called as its `Per` says."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from tessera.models.block import activate
from tessera.models.config import ModelConfig
from tessera.models.dense import Dense
from tessera.models.dense_config import DenseConfig
from tessera.models.tasks import outputs
from tessera.models.trunk import Trunk


class LanguageHead(nn.Module):
    """Logits of the next token.

    Args:
        width: of hidden states.
        tokens: the embedding that is its matrix where they are tied.
        vocab_size: number of logits.
        tied: whether they are.
        bias: whether logits have one.
    """

    def __init__(
        self, width: int, tokens: nn.Embedding, vocab_size: int, *, tied: bool, bias: bool
    ) -> None:
        super().__init__()
        self.projection = nn.Linear(width, vocab_size, bias=bias)
        if tied:
            self.projection.weight = tokens.weight

    @classmethod
    def of(cls, config: ModelConfig, trunk: Trunk) -> Self:
        """That of a model: its last stack writes."""
        return cls(
            config.width,
            trunk.stacks[-1].embeddings.tokens,
            config.target_vocab_size,
            tied=config.tie_embeddings,
            bias=config.head_bias,
        )

    def forward(self, hidden: Tensor) -> Tensor:
        """[*, width] to [*, V]."""
        return self.projection(hidden)  # type: ignore[no-any-return]


class MaskedHead(nn.Module):
    """Logits of a hidden token: a dense layer, a norm, and the embedding (Devlin et al., 2018).

    Args:
        width: of hidden states.
        tokens: the embedding that is its last matrix where they are tied.
        activation: after the dense layer.
        epsilon: of the norm.
        tied: whether they are.
    """

    def __init__(
        self, width: int, tokens: nn.Embedding, activation: str, epsilon: float, *, tied: bool
    ) -> None:
        super().__init__()
        self.activation = activation
        self.dense = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width, eps=epsilon)
        self.projection = nn.Linear(width, tokens.num_embeddings)
        if tied:
            self.projection.weight = tokens.weight

    @classmethod
    def of(cls, config: ModelConfig, trunk: Trunk) -> Self:
        """That of a model: its first stack reads."""
        reader = trunk.stacks[0]
        activation = reader.config.activation
        return cls(
            config.width,
            reader.embeddings.tokens,
            "silu" if activation == "swiglu" else activation,
            reader.config.norm_epsilon,
            tied=config.tie_embeddings,
        )

    def forward(self, hidden: Tensor) -> Tensor:
        """[*, width] to [*, V]."""
        return self.projection(self.norm(activate(self.activation, self.dense(hidden))))  # type: ignore[no-any-return]


class ClassHead(nn.Module):
    """Logits of a text's classes.

    Args:
        width: of hidden states.
        classes: number of logits.
        pooling: which state stands for a text: `first`, `last` or `mean`.
        pooler: whether a dense layer with tanh comes first.
        bias: whether logits have one.
        dropout: probability, before the projection.
    """

    def __init__(
        self, width: int, classes: int, *, pooling: str, pooler: bool, bias: bool, dropout: float
    ) -> None:
        super().__init__()
        self.pooling = pooling
        self.pooler = nn.Linear(width, width) if pooler else None
        self.dropout = nn.Dropout(dropout)
        self.projection = nn.Linear(width, classes, bias=bias)

    @classmethod
    def of(cls, config: ModelConfig, trunk: Trunk) -> Self:
        """That of a model."""
        task = config.task
        return cls(
            config.width,
            outputs(task),
            pooling=task.pooling,
            pooler=task.pooler,
            bias=task.bias,
            dropout=trunk.stacks[0].config.dropout,
        )

    def forward(self, hidden: Tensor, mask: Tensor | None) -> Tensor:
        """[B, T, width] and [B, T] bool to [B, C]."""
        text = pool(hidden, mask, self.pooling)
        if self.pooler is not None:
            text = torch.tanh(self.pooler(text))
        return self.projection(self.dropout(text))  # type: ignore[no-any-return]


class TokenHead(nn.Module):
    """Logits of every token: of its classes, or of being start and end of an answer.

    Args:
        width: of hidden states.
        outputs: number of logits.
        dropout: probability, before the projection.
    """

    def __init__(self, width: int, outputs: int, *, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.projection = nn.Linear(width, outputs)

    @classmethod
    def of(cls, config: ModelConfig, trunk: Trunk) -> Self:
        """That of a model."""
        return cls(config.width, outputs(config.task), dropout=trunk.stacks[0].config.dropout)

    def forward(self, hidden: Tensor) -> Tensor:
        """[B, T, width] to [B, T, outputs]."""
        return self.projection(self.dropout(hidden))  # type: ignore[no-any-return]


class VectorHead(nn.Module):
    """One vector for a text (Reimers and Gurevych, 2019).

    Args:
        width: of hidden states.
        pooling: which state stands for a text: one of `VECTOR_POOLINGS`.
        normalize: whether vectors have length 1.
        dense: layers between the two.
    """

    def __init__(
        self, width: int, *, pooling: str, normalize: bool, dense: Sequence[DenseConfig] = ()
    ) -> None:
        super().__init__()
        self.pooling = pooling
        self.normalize = normalize
        widths = (width, *(layer.width for layer in dense))
        self.dense = nn.ModuleList(map(Dense, widths, dense))

    @classmethod
    def of(cls, config: ModelConfig, _trunk: Trunk) -> Self:
        """That of a model."""
        task = config.task
        return cls(config.width, pooling=task.pooling, normalize=task.normalize, dense=task.dense)

    def forward(self, hidden: Tensor, mask: Tensor | None) -> Tensor:
        """[B, T, width] and [B, T] bool to [B, width of the last layer]."""
        vectors = pool(hidden, mask, self.pooling)
        for layer in self.dense:
            vectors = layer(vectors)
        if not self.normalize:
            return vectors
        # A length that overflows would make a vector of zeros.
        return functional.normalize(vectors.float(), dim=-1).to(vectors.dtype)


def pool(hidden: Tensor, mask: Tensor | None, how: str) -> Tensor:
    """The state that stands for each text, as sentence-transformers finds it.

    Args:
        hidden: [B, T, width].
        mask: [B, T] bool, False for padding and for what does not count; None: all counts.
        how: one of `VECTOR_POOLINGS`.

    Returns:
        [B, width].
    """
    if mask is None:
        return _pool_all(hidden, how)
    rows = torch.arange(len(hidden), device=hidden.device)
    marks = mask.to(torch.int32)
    if how == "first":
        return hidden[rows, marks.argmax(dim=1)]
    if how == "last":
        return hidden[rows, hidden.shape[1] - 1 - marks.flip(1).argmax(dim=1)]
    if how == "max":
        return hidden.masked_fill(~mask[..., None], -torch.inf).amax(dim=1)
    weights = mask[..., None].to(hidden.dtype)
    if how == "weightedmean":
        weights = weights * _places(hidden)
    total = weights.sum(dim=1)
    if how == "mean_sqrt_len":
        total = total.sqrt()
    # Of many tokens the sum may overflow where the mean does not.
    sums = (hidden * weights).sum(dim=1, dtype=torch.float32)
    least = torch.finfo(torch.float32).tiny
    return (sums / total.float().clamp(min=least)).to(hidden.dtype)


def _pool_all(hidden: Tensor, how: str) -> Tensor:
    if how == "first":
        return hidden[:, 0]
    if how == "last":
        return hidden[:, -1]
    if how == "max":
        return hidden.amax(dim=1)
    if how == "mean_sqrt_len":
        return hidden.sum(dim=1) / math.sqrt(hidden.shape[1])
    if how == "weightedmean":
        places = _places(hidden)
        return (hidden * places).sum(dim=1) / places.sum()
    return hidden.mean(dim=1)


def _places(hidden: Tensor) -> Tensor:
    """[T, 1] places of tokens, counted from 1."""
    count = hidden.shape[1]
    return torch.arange(1, count + 1, device=hidden.device, dtype=hidden.dtype)[:, None]
