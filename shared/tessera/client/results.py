"""What answers are given as."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from tessera.api.inference.v1 import inference_pb2 as pb

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Results(Sequence[T]):
    """One result for each text, in the order of the texts.

    Args:
        values: the results, messages of the API.
        versions: of the weights that made each. They differ where a newer one began to serve
            between two of the requests that many texts need.
    """

    values: tuple[T, ...]
    versions: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.values)

    def __iter__(self) -> Iterator[T]:
        return iter(self.values)

    @overload
    def __getitem__(self, index: int) -> T: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[T]: ...

    def __getitem__(self, index: int | slice) -> T | Sequence[T]:
        return self.values[index]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Embeddings:
    """One vector for each text, in the order of the texts.

    Args:
        vectors: float32, one row for each text.
        versions: of the weights that made each row; as in `Results`.
    """

    vectors: NDArray[np.float32]
    versions: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.versions)


def has_answer(found: pb.Answers, *, margin: float = 0.0) -> bool:
    """Whether the first piece is the likeliest, rather than that the context holds no answer.

    Args:
        found: what answers a question; of a model that learned that some have no answer.
        margin: nats by which no answer must be likelier, to be tuned on held-out questions
            (Devlin et al., 2019, 4.3).
    """
    nothing = found.no_answer_probability
    best = (1 - nothing) * max((span.probability for span in found.spans), default=0.0)
    return nothing <= best * math.exp(margin)
