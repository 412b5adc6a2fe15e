"""What deployed models answer: each kind of answer as a method."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
from google.protobuf.message import Message
from numpy.typing import NDArray

from tessera import errors
from tessera.api.inference.v1 import inference_pb2 as pb
from tessera.client.batches import M, ask, joined
from tessera.client.generation import ANSWER_SECONDS, TextGeneration
from tessera.client.inputs import Text, Texts, to_inputs, to_questions, to_scored
from tessera.client.results import Embeddings, Results

DESCRIBE_SECONDS = 30.0


class Answers(TextGeneration):
    """Asks deployed models.

    A text is a `str` or a sequence of token ids; where many are taken, one `str` will do. As many
    texts as one likes go into as many requests as they need. A replica that is gone before it has
    answered is replaced, and one that has no room is asked again for a while.

    Every method raises:
        NotFoundError: there is no such model.
        FailedPreconditionError: METHOD_NOT_SERVED, where the model cannot answer that.
        InvalidArgumentError: a text or another argument is wrong; the field is named.
        UnavailableError: no replica serves.

    Args:
        replicas: that answer.
    """

    def translate(
        self,
        model: str,
        texts: Texts,
        *,
        max_tokens: int | None = None,
        beams: int | None = None,
        length_penalty: float | None = None,
        hypotheses: int | None = None,
        seconds: float = ANSWER_SECONDS,
    ) -> Results[pb.Translation]:
        """What belongs to each text: its translation, its summary.

        Args:
            model: the deployment.
            texts: to translate.
            max_tokens: to write for each text at most.
            beams: hypotheses that the search follows; 1 takes the likeliest token each time.
            length_penalty: a hypothesis' score is divided by its length to this power.
            hypotheses: to return for each text, at most `beams`; the best comes first.
            seconds: for each request.
        """
        make = partial(
            pb.TranslateRequest,
            model=model,
            max_tokens=max_tokens,
            beams=beams,
            length_penalty=length_penalty,
            hypotheses=hypotheses,
        )
        parts = self._ask("Translate", seconds, to_inputs(texts), lambda some: make(inputs=some))
        return joined(parts, "translations")

    def classify(
        self,
        model: str,
        texts: Texts,
        *,
        pairs: str | Sequence[str] | None = None,
        top_k: int | None = None,
        seconds: float = ANSWER_SECONDS,
    ) -> Results[pb.Classification]:
        """The classes of each text, or of each of its tokens, the likeliest first.

        Args:
            model: the deployment.
            texts: to classify.
            pairs: a second text for each, where the model compares two.
            top_k: classes of each text; 0: all.
            seconds: for each request.
        """
        make = partial(pb.ClassifyRequest, model=model, top_k=top_k)
        inputs = to_inputs(texts, pairs)
        parts = self._ask("Classify", seconds, inputs, lambda some: make(inputs=some))
        return joined(parts, "classifications")

    def fill_mask(
        self, model: str, texts: Texts, *, top_k: int | None = None, seconds: float = ANSWER_SECONDS
    ) -> Results[pb.FilledText]:
        """What may stand where each text has the mask token, the likeliest first.

        Args:
            model: the deployment.
            texts: with the mask token in them, as the model's tokenizer writes it.
            top_k: candidates for each place.
            seconds: for each request.
        """
        make = partial(pb.FillMaskRequest, model=model, top_k=top_k)
        parts = self._ask("FillMask", seconds, to_inputs(texts), lambda some: make(inputs=some))
        return joined(parts, "texts")

    def answer(
        self,
        model: str,
        questions: Sequence[tuple[Text, Text]],
        *,
        top_k: int | None = None,
        max_answer_tokens: int | None = None,
        seconds: float = ANSWER_SECONDS,
    ) -> Results[pb.Answers]:
        """Where each question is answered in its context, the likeliest place first.

        `results.has_answer` tells whether there is an answer at all. Places are characters of the
        context, or tokens where it is given as such.

        Args:
            model: the deployment.
            questions: each with its context.
            top_k: answers to each.
            max_answer_tokens: tokens of an answer at most.
            seconds: for each request.
        """
        asked = to_questions(questions)
        make = partial(
            pb.AnswerRequest, model=model, top_k=top_k, max_answer_tokens=max_answer_tokens
        )
        parts = self._ask("Answer", seconds, asked, lambda some: make(questions=some))
        return joined(parts, "answers")

    def embed(
        self,
        model: str,
        texts: Texts,
        *,
        prompt_name: str | None = None,
        prompt: str | None = None,
        seconds: float = ANSWER_SECONDS,
    ) -> Embeddings:
        """A vector for each text.

        Args:
            model: the deployment.
            texts: to embed.
            prompt_name: which of the model's prompts stands before every text; default: the one
                that the model says, if it says one.
            prompt: the prompt itself, instead; it may be empty.
            seconds: for each request.
        """
        if prompt is not None and prompt_name is not None:
            raise errors.InvalidArgumentError.at(
                "prompt", "a prompt is given by its name or as a text: leave out one", "TWO_PROMPTS"
            )
        before = {"prompt_name": prompt_name, "prompt": prompt}
        asked = {name: value for name, value in before.items() if value is not None}
        make = partial(pb.EmbedRequest, model=model, **asked)  # type: ignore[arg-type]
        rows: list[NDArray[Any]] = []
        versions: list[int] = []
        for part in self._ask("Embed", seconds, to_inputs(texts), lambda some: make(inputs=some)):
            rows.append(np.frombuffer(part.vectors, "<f4").reshape(-1, part.width))
            versions += [part.version] * len(rows[-1])
        if not rows:
            rows = [np.empty((0, self.model(model).width))]
        vectors = np.concatenate(rows).astype(np.float32, copy=False)
        return Embeddings(vectors=vectors, versions=tuple(versions))

    def score(
        self,
        model: str,
        texts: Texts,
        *,
        contexts: Texts | None = None,
        seconds: float = ANSWER_SECONDS,
    ) -> Results[pb.Scored]:
        """How likely the model finds each text: the log-probability of each of its tokens.

        Args:
            model: the deployment.
            texts: to score.
            contexts: what stands before each; for models with an encoder, what that reads.
            seconds: for each request.
        """
        make = partial(pb.ScoreRequest, model=model)
        scored = to_scored(texts, contexts)
        parts = self._ask("Score", seconds, scored, lambda some: make(texts=some))
        return joined(parts, "scores")

    def model(self, name: str) -> pb.GetModelResponse:
        """What a deployed model is: family, task, the methods it answers, set, version, sizes."""
        request = pb.GetModelRequest(model=name)
        found: pb.GetModelResponse = self._replicas.call(
            "GetModel", request, seconds=DESCRIBE_SECONDS
        )
        return found

    def _ask(
        self,
        method: str,
        seconds: float,
        items: Sequence[M],
        make: Callable[[Sequence[M]], Message],
    ) -> Iterator[Any]:
        return ask(partial(self._replicas.call, method, seconds=seconds), make, items)
