"""From what is asked for to what the scheduler runs and how its results are taken."""

from __future__ import annotations

from tessera.inference.engine.beam import BeamSearch
from tessera.inference.engine.bounds import Bounds
from tessera.inference.engine.detokenizer import Detokenizer
from tessera.inference.engine.loaded_model import LoadedModel
from tessera.inference.engine.pooling import PoolingInput, PoolingRequest
from tessera.inference.engine.request_state import (
    BeamState,
    BestBeamState,
    Fork,
    GreedyState,
    PoolingState,
    RequestState,
    StreamState,
)
from tessera.inference.engine.sequence import Request, Sequence, Work


class InputProcessor:
    """Makes items and their states.

    Args:
        bounds: of what they may take.
        fork: for beam searches.
    """

    def __init__(self, bounds: Bounds, fork: Fork) -> None:
        self._bounds = bounds
        self._fork = fork

    def stream(
        self, number: int, request: Request, model: LoadedModel, client: str
    ) -> RequestState:
        """An answer in parts."""
        sequence = self._sequence(number, number, request, model, client)
        answer = Detokenizer(request, model, sequence.limit - sequence.prompt_length)
        if sequence.search is None:
            return StreamState(sequence, answer)
        return BestBeamState(BeamState(sequence, self._fork), answer)

    def part(
        self,
        number: int,
        group: int,
        work: Work[object],
        model: LoadedModel,
        *,
        deadline: float | None,
        client: str,
    ) -> RequestState:
        """One of several items: the hypotheses of a request, or what a head says of a text."""
        if isinstance(work, PoolingInput):
            version = model.version
            return PoolingState(
                PoolingRequest(
                    number=number,
                    group=group,
                    version=version,
                    text=work,
                    deadline=deadline,
                    client=client,
                )
            )
        assert isinstance(work, Request)
        sequence = self._sequence(number, group, work, model, client)
        if sequence.search is None:
            return GreedyState(sequence, model.end_ids, work.length_penalty)
        return BeamState(sequence, self._fork)

    def _sequence(
        self, number: int, group: int, request: Request, model: LoadedModel, client: str
    ) -> Sequence:
        limit = self._bounds.limit(request, model)
        search = None
        if request.beams > 1:
            search = BeamSearch(
                beams=request.beams,
                length_penalty=request.length_penalty,
                end_ids=model.end_ids,
                limit=limit - len(request.prompt),
            )
        return Sequence(
            number,
            model.version,
            request.prompt,
            limit=limit,
            group=group,
            sampling=request.sampling,
            deadline=request.deadline,
            source=request.source,
            segments=request.segments,
            search=search,
            client=client,
        )
