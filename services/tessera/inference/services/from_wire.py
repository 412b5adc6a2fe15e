"""Messages to what they ask for."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any

from tessera import errors
from tessera.api.inference.v1 import inference_pb2 as pb
from tessera.inference.engine.sequence import Sampling
from tessera.inference.tasks.answer import Answer, Question
from tessera.inference.tasks.classify import Classify
from tessera.inference.tasks.embed import Embed, Prompt
from tessera.inference.tasks.fill_mask import FillMask
from tessera.inference.tasks.score import Score
from tessera.inference.tasks.text_input import TextInput
from tessera.inference.tasks.translate import Translate
from tessera.inference.tasks.writing import SamplingParams

_MAX_TOKENS = 128
_CANDIDATES = 5
_ANSWER_TOKENS = 30


def generate(
    request: pb.GenerateRequest, deadline: float | None
) -> tuple[TextInput, SamplingParams]:
    """The prompt, and how to go on with it.

    Raises:
        InvalidArgumentError: SAMPLING_WITH_BEAMS.
    """
    text = request.WhichOneof("input") == "text"
    given = TextInput(
        text=request.text if text else "", tokens=None if text else tuple(request.tokens.ids)
    )
    beams = request.beams or 1
    if beams > 1:
        _check_greedy(request.sampling)
    return given, SamplingParams(
        max_tokens=request.max_tokens or _MAX_TOKENS,
        sampling=_sampling(request.sampling),
        stop=tuple(request.stop),
        logprobs=request.logprobs,
        deadline=deadline,
        beams=beams,
        length_penalty=request.length_penalty if request.HasField("length_penalty") else 1.0,
    )


def translate(request: pb.TranslateRequest, deadline: float | None) -> Translate:
    """A task."""
    params = SamplingParams(
        max_tokens=request.max_tokens or _MAX_TOKENS,
        beams=request.beams or 1,
        length_penalty=request.length_penalty if request.HasField("length_penalty") else 1.0,
        hypotheses=request.hypotheses or 1,
        deadline=deadline,
    )
    return Translate(_inputs(request.inputs), params)


def classify(request: pb.ClassifyRequest) -> Classify:
    """A task."""
    return Classify(_inputs(request.inputs), request.top_k)


def fill_mask(request: pb.FillMaskRequest) -> FillMask:
    """A task."""
    return FillMask(_inputs(request.inputs), request.top_k or _CANDIDATES)


def answer(request: pb.AnswerRequest) -> Answer:
    """A task."""
    questions = [
        Question(question=_input(asked.question), context=_input(asked.context))
        for asked in request.questions
    ]
    return Answer(questions, request.top_k or 1, request.max_answer_tokens or _ANSWER_TOKENS)


def embed(request: pb.EmbedRequest) -> Embed:
    """A task."""
    which = request.WhichOneof("before")
    prompt = Prompt(
        name=request.prompt_name if which == "prompt_name" else None,
        text=request.prompt if which == "prompt" else None,
    )
    return Embed(_inputs(request.inputs), prompt)


def score(request: pb.ScoreRequest) -> Score:
    """A task."""
    return Score(
        [
            (_input(text.context) if text.HasField("context") else None, _input(text.target))
            for text in request.texts
        ]
    )


class _Inputs(Sequence[TextInput]):
    """Texts that are made of messages one by one, when they are looked at.

    Where that is, and whether it comes to the last, is the task's to say: not on the event loop if
    they are many, and no further than the first that is refused.
    """

    def __init__(self, inputs: Sequence[pb.Input]) -> None:
        self._inputs = inputs

    def __len__(self) -> int:
        return len(self._inputs)

    def __getitem__(self, index: Any) -> Any:
        return _input(self._inputs[index])


def _inputs(inputs: Sequence[pb.Input]) -> Sequence[TextInput]:
    return _Inputs(inputs)


def _input(given: pb.Input) -> TextInput:
    if given.WhichOneof("value") == "tokens":
        return TextInput(tokens=tuple(given.tokens.ids), pair=given.pair)
    return TextInput(text=given.text, pair=given.pair)


def _sampling(wanted: pb.Sampling) -> Sampling:
    return Sampling(
        temperature=wanted.temperature if wanted.HasField("temperature") else 1.0,
        top_k=wanted.top_k,
        top_p=wanted.top_p if wanted.HasField("top_p") else 1.0,
        seed=wanted.seed if wanted.HasField("seed") else secrets.randbits(63),
    )


def _check_greedy(wanted: pb.Sampling) -> None:
    for name, value in wanted.ListFields():
        if name.name != "temperature" or value:
            raise errors.InvalidArgumentError.at(
                f"sampling.{name.name}",
                "a beam search leaves nothing to chance; leave it out, or leave out `beams`",
                "SAMPLING_WITH_BEAMS",
            )
