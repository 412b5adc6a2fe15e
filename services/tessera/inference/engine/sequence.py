"""A request on its way through the engine. Pure."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from collections.abc import Sequence as Ordered
from dataclasses import dataclass
from typing import Generic, TypeVar

from tessera.inference.engine.beam import BeamSearch, Hypothesis

R_co = TypeVar("R_co", covariant=True)


class Work(Generic[R_co]):
    """Something that the engine is asked to run; `R_co` is what comes back for it."""

    __slots__ = ()


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
class Request(Work[list[Hypothesis]]):
    """What to write.

    Args:
        prompt: token ids that the decoder begins with, at least one.
        source: token ids that an encoder reads first; empty: the model has none.
        segments: of the source; empty: 0.
        max_tokens: tokens to write at most.
        sampling: how they are chosen.
        stop: stop before the first of these.
        logprobs: whether log-probabilities are wanted.
        deadline: on the engine's clock; None: whenever.
        beams: hypotheses of a beam search; 1: none is made.
        length_penalty: power of a hypothesis' length that divides its log-probability.
    """

    prompt: tuple[int, ...]
    source: tuple[int, ...] = ()
    segments: tuple[int, ...] = ()
    max_tokens: int = 128
    sampling: Sampling = Sampling()
    stop: tuple[str, ...] = ()
    logprobs: bool = False
    deadline: float | None = None
    beams: int = 1
    length_penalty: float = 1.0


class Branch:
    """One continuation of a prompt, and the blocks that keep its keys and values.

    Args:
        tokens: the prompt and what was written.
        blocks: in the order of the tokens; branches of a sequence share those that are alike.
    """

    __slots__ = ("blocks", "tokens")

    def __init__(self, tokens: Iterable[int], blocks: Iterable[int] = ()) -> None:
        self.tokens = list(tokens)
        self.blocks = list(blocks)

    def __len__(self) -> int:
        return len(self.tokens)


class Sequence:
    """Something to write: one branch, or those of a beam search, which are of one length.

    Args:
        number: tells it from every other item; later ones are higher.
        version: of the weights that answer it.
        prompt: token ids.
        limit: tokens at which it ends, the prompt included.
        group: number of the request that it is a part of; default its own.
        sampling: how tokens are chosen.
        deadline: when it is given up.
        source: what an encoder reads first.
        segments: of the source.
        search: chooses tokens instead of `sampling`.
        client: who asked for it.
    """

    __slots__ = (
        "branches",
        "client",
        "cross_blocks",
        "deadline",
        "group",
        "limit",
        "number",
        "prompt_length",
        "sampling",
        "search",
        "segments",
        "source",
        "version",
    )

    def __init__(
        self,
        number: int,
        version: int,
        prompt: Ordered[int],
        *,
        limit: int,
        group: int | None = None,
        sampling: Sampling | None = None,
        deadline: float | None = None,
        source: Ordered[int] = (),
        segments: Ordered[int] = (),
        search: BeamSearch | None = None,
        client: str = "",
    ) -> None:
        self.number = number
        self.group = number if group is None else group
        self.version = version
        self.prompt_length = len(prompt)
        self.limit = limit
        self.sampling = sampling or Sampling()
        self.deadline = deadline
        self.source = tuple(source)
        self.segments = tuple(segments)
        self.search = search
        self.client = client
        self.branches = [Branch(prompt)]
        self.cross_blocks: list[int] = []

    def __len__(self) -> int:
        return len(self.branches[0])

    @property
    def tokens(self) -> list[int]:
        """Of its first branch."""
        return self.branches[0].tokens

    @property
    def rows(self) -> int:
        """Rows of a batch that it may take."""
        return 1 if self.search is None else self.search.beams

    @property
    def cost(self) -> int:
        """Tokens to compute when it is let in."""
        unread = 0 if self.cross_blocks else len(self.source)
        return unread + len(self) * len(self.branches)

    @property
    def full(self) -> bool:
        """Whether it may not grow any more."""
        return len(self) >= self.limit
