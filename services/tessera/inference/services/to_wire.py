"""Answers to messages."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from tessera.api.inference.v1 import inference_pb2 as pb
from tessera.inference.engine.detokenizer import OutputDelta
from tessera.inference.engine.sequence import FinishReason
from tessera.inference.tasks.answer import Found
from tessera.inference.tasks.classify import ClassifiedText
from tessera.inference.tasks.fill_mask import Filled
from tessera.inference.tasks.score import Likelihood
from tessera.inference.tasks.translate import Put

_FINISH = {
    None: pb.FINISH_REASON_UNSPECIFIED,
    FinishReason.END: pb.FINISH_REASON_END,
    FinishReason.STOP: pb.FINISH_REASON_STOP,
    FinishReason.LENGTH: pb.FINISH_REASON_LENGTH,
}


def output(part: OutputDelta) -> pb.GenerateResponse:
    """A part of an answer."""
    return pb.GenerateResponse(
        text=part.text,
        tokens=part.tokens,
        logprobs=part.logprobs,
        finish_reason=_FINISH[part.finish],
        version=part.version,
        prompt_tokens=part.prompt_tokens if part.finish is not None else 0,
    )


def translations(found: Iterable[Sequence[Put]], version: int) -> pb.TranslateResponse:
    """What belongs to texts."""
    return pb.TranslateResponse(
        translations=[
            pb.Translation(
                hypotheses=[
                    pb.Hypothesis(
                        text=put.text,
                        tokens=put.tokens,
                        score=put.score,
                        finish_reason=_FINISH[put.finish],
                    )
                    for put in puts
                ]
            )
            for puts in found
        ],
        version=version,
    )


def classifications(found: Iterable[ClassifiedText], version: int) -> pb.ClassifyResponse:
    """Classes of texts, and of tokens."""
    return pb.ClassifyResponse(
        classifications=[
            pb.Classification(
                labels=[
                    pb.LabelScore(label=each.label, probability=each.probability)
                    for each in one.labels
                ],
                score=one.score,
                tokens=[
                    pb.TokenLabel(
                        begin=piece.begin,
                        end=piece.end,
                        text=piece.text,
                        label=pb.LabelScore(label=piece.label, probability=piece.probability),
                    )
                    for piece in one.tokens
                ],
            )
            for one in found
        ],
        version=version,
    )


def filled(found: Iterable[Filled], version: int) -> pb.FillMaskResponse:
    """What is hidden in texts."""
    reply = pb.FillMaskResponse(version=version)
    for text in found:
        masks = reply.texts.add().masks
        candidates = zip(text.tokens, text.texts, text.probabilities, strict=True)
        for position in text.positions:
            # They are many, and what is added where it belongs is not copied.
            add = masks.add(position=position).candidates.add
            for token, word, probability in islice(candidates, text.count):
                add(token=token, text=word, probability=probability)
    return reply


def answers(found: Iterable[Found], version: int) -> pb.AnswerResponse:
    """Answers to questions."""
    return pb.AnswerResponse(
        answers=[
            pb.Answers(
                spans=[
                    pb.Span(
                        text=span.text,
                        begin=span.begin,
                        end=span.end,
                        probability=span.probability,
                    )
                    for span in one.spans
                ],
                no_answer_probability=one.no_answer,
            )
            for one in found
        ],
        version=version,
    )


def vectors(found: NDArray[np.float32], version: int) -> pb.EmbedResponse:
    """Vectors of texts."""
    return pb.EmbedResponse(vectors=found.tobytes(), width=found.shape[1], version=version)


def scores(found: Iterable[Likelihood], version: int) -> pb.ScoreResponse:
    """How likely texts are."""
    return pb.ScoreResponse(
        scores=[
            pb.Scored(tokens=one.tokens, logprobs=one.logprobs, total=one.total) for one in found
        ],
        version=version,
    )
