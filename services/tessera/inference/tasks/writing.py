"""What decoders are asked to write: what they begin with, and what they may take."""

from __future__ import annotations

from tessera import errors
from tessera.inference.engine.bounds import Bounds
from tessera.inference.engine.loaded_model import LoadedModel
from tessera.inference.engine.sequence import Request


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
