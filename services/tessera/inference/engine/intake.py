"""From what is asked for to what the scheduler runs and how its results are taken."""

from __future__ import annotations

from tessera.inference.engine.answer import Answer
from tessera.inference.engine.beam import BeamSearch
from tessera.inference.engine.bounds import Bounds
from tessera.inference.engine.model import LoadedModel
from tessera.inference.engine.reading import Reading, Text
from tessera.inference.engine.sequence import Request, Sequence
from tessera.inference.engine.track import BestAnswer, Fork, Greedy, Once, Search, Streamed, Track


class Intake:
    """Makes items and their tracks.

    Args:
        bounds: of what they may take.
        fork: for beam searches.
    """

    def __init__(self, bounds: Bounds, fork: Fork) -> None:
        self._bounds = bounds
        self._fork = fork

    def stream(self, number: int, request: Request, model: LoadedModel) -> Track:
        """An answer in parts."""
        sequence = self._sequence(number, number, request, model)
        answer = Answer(request, model, sequence.limit - sequence.prompt_length)
        if sequence.search is None:
            return Streamed(sequence, answer)
        return BestAnswer(Search(sequence, self._fork), answer)

    def part(
        self,
        number: int,
        group: int,
        work: Request | Text,
        model: LoadedModel,
        deadline: float | None,
    ) -> Track:
        """One of several items: the hypotheses of a request, or what a head says of a text."""
        if isinstance(work, Text):
            version = model.version
            return Once(
                Reading(number=number, group=group, version=version, text=work, deadline=deadline)
            )
        sequence = self._sequence(number, group, work, model)
        if sequence.search is None:
            return Greedy(sequence, model.end_id, work.length_penalty)
        return Search(sequence, self._fork)

    def _sequence(self, number: int, group: int, request: Request, model: LoadedModel) -> Sequence:
        limit = self._bounds.limit(request, model)
        search = None
        if request.beams > 1:
            search = BeamSearch(
                beams=request.beams,
                length_penalty=request.length_penalty,
                end_id=model.end_id,
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
        )
