"""A request on its way through the engine. Pure."""

from __future__ import annotations

import enum
from collections.abc import Sequence as Ordered
from dataclasses import dataclass


class FinishReason(enum.Enum):
    """Why an answer ended."""

    END = "end"
    STOP = "stop"
    LENGTH = "length"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How the next token is chosen.

    Args:
        temperature: 0 takes the most likely token.
        top_k: only the k most likely tokens; 0: all.
        top_p: only the most likely tokens that together have this probability.
        seed: the same one gives the same answer of the same version.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    seed: int = 0

    @property
    def greedy(self) -> bool:
        """Whether chance plays no part."""
        return self.temperature == 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What to write.

    Args:
        prompt: token ids, at least one.
        max_tokens: tokens to write at most.
        sampling: how they are chosen.
        stop: stop before the first of these.
        logprobs: whether log-probabilities are wanted.
        deadline: on the engine's clock; None: whenever.
    """

    prompt: tuple[int, ...]
    max_tokens: int = 128
    sampling: Sampling = Sampling()
    stop: tuple[str, ...] = ()
    logprobs: bool = False
    deadline: float | None = None


class Sequence:
    """Tokens of one request, and the blocks that keep their keys and values.

    Args:
        number: tells it from every other one; later ones are higher.
        version: of the weights that answer it.
        prompt: token ids.
        limit: tokens at which it ends, the prompt included.
        sampling: how tokens are chosen.
        deadline: when it is given up.
    """

    __slots__ = (
        "blocks",
        "deadline",
        "limit",
        "number",
        "prompt_length",
        "sampling",
        "tokens",
        "version",
    )

    def __init__(
        self,
        number: int,
        version: int,
        prompt: Ordered[int],
        *,
        limit: int,
        sampling: Sampling | None = None,
        deadline: float | None = None,
    ) -> None:
        self.number = number
        self.version = version
        self.tokens = list(prompt)
        self.prompt_length = len(self.tokens)
        self.limit = limit
        self.sampling = sampling or Sampling()
        self.deadline = deadline
        self.blocks: list[int] = []

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def written(self) -> int:
        """Tokens that were added to the prompt."""
        return len(self.tokens) - self.prompt_length

    @property
    def full(self) -> bool:
        """Whether it may not grow any more."""
        return len(self.tokens) >= self.limit
