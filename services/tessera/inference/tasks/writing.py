"""What decoders are asked to write: what they begin with, and what they may take."""

from __future__ import annotations

from dataclasses import dataclass

from tessera import errors
from tessera.inference.engine.bounds import Bounds
from tessera.inference.engine.loaded_model import LoadedModel
from tessera.inference.engine.sequence import Request, Sampling

GREEDY = Sampling(temperature=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingParams:
    """How to write; vLLM's word, with the search of its `BeamSearchParams`.

    Args:
        max_tokens: to write at most.
        sampling: how tokens are chosen where there is one beam.
        stop: stop before the first of these.
        logprobs: whether log-probabilities are wanted.
        beams: hypotheses that are followed; 1: no search is made.
        length_penalty: power of a hypothesis' length that divides its log-probability.
        hypotheses: to return, the best first.
        deadline: on the engine's clock; None: whenever.
    """

    max_tokens: int = 128
    sampling: Sampling = GREEDY
    stop: tuple[str, ...] = ()
    logprobs: bool = False
    beams: int = 1
    length_penalty: float = 1.0
    hypotheses: int = 1
    deadline: float | None = None

    def request(
        self, prompt: tuple[int, ...], source: tuple[int, ...] = (), segments: tuple[int, ...] = ()
    ) -> Request:
        """What the engine runs.

        Args:
            prompt: that the decoder begins with, at least one token.
            source: that an encoder reads first; empty: the model has none.
            segments: of the source; empty: 0.
        """
        return Request(
            prompt=prompt,
            source=source,
            segments=segments,
            max_tokens=self.max_tokens,
            sampling=self.sampling,
            stop=self.stop,
            logprobs=self.logprobs,
            deadline=self.deadline,
            beams=self.beams,
            length_penalty=self.length_penalty,
        )


def first_token(model: LoadedModel) -> int:
    """The token that a decoder beside an encoder begins with.

    Raises:
        FailedPreconditionError: MODEL_WITHOUT_START.
    """
    token = model.config.first_id
    if token < 0:
        raise errors.FailedPreconditionError.at(
            "model",
            "its config.json names no token that its decoder begins with; set"
            " `decoder_start_id` and commit it again",
            "MODEL_WITHOUT_START",
        )
    return token


def check_room(request: Request, model: LoadedModel, bounds: Bounds) -> None:
    """Raise InvalidArgumentError TOO_MANY_BEAMS if a search could not write a token."""
    if bounds.limit(request, model) <= len(request.prompt):
        raise errors.InvalidArgumentError.at(
            "beams",
            f"the cache has {bounds.blocks.capacity} tokens, too few for {request.beams}"
            f" hypotheses after {len(request.prompt)} tokens; ask for fewer",
            "TOO_MANY_BEAMS",
        )
