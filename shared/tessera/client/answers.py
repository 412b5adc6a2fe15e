"""What deployed models answer: each kind of answer as a method."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
from google.protobuf.message import Message
from numpy.typing import NDArray

from tessera.api.inference.v1 import inference_pb2 as pb
from tessera.client.batches import M, ask, joined, range_checked
from tessera.client.inputs import Text, Texts, to_inputs, to_scored
from tessera.client.replicas import Replicas
from tessera.client.results import Embeddings, Results

ANSWER_SECONDS = 600.0
DESCRIBE_SECONDS = 30.0


class Answers:
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

    def __init__(self, replicas: Replicas) -> None:
        self._replicas = replicas

    def generate(
        self,
        model: str,
        prompt: Text,
        *,
        max_tokens: int | None = None,
        temperature: float | None = None,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int | None = None,
        stop: Sequence[str] = (),
        logprobs: bool = False,
        beams: int | None = None,
        length_penalty: float | None = None,
        seconds: float = ANSWER_SECONDS,
    ) -> Iterator[pb.GenerateResponse]:
        """Continue a prompt; ending the iteration stops the work.

        The last part has a `finish_reason`; every part names the version that made it. With more
        than one of `beams`, the whole answer is one part.

        Raises:
            UnavailableError: no replica serves, or it died in the middle of the answer.
        """
        with range_checked():
            sampling = pb.Sampling(temperature=temperature, top_k=top_k, top_p=top_p, seed=seed)
            request = pb.GenerateRequest(
                model=model,
                max_tokens=max_tokens,
                sampling=sampling,
                stop=stop,
                logprobs=logprobs,
                beams=beams,
                length_penalty=length_penalty,
            )
            if isinstance(prompt, str):
                request.text = prompt
            else:
                request.tokens.CopyFrom(pb.Tokens(ids=prompt))
        return self._replicas.stream("Generate", request, seconds=seconds)

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
        questions: Sequence[tuple[str, str]],
        *,
        top_k: int | None = None,
        max_answer_tokens: int | None = None,
        seconds: float = ANSWER_SECONDS,
    ) -> Results[pb.Answers]:
        """Where each question is answered in its context, the likeliest place first.

        Args:
            model: the deployment.
            questions: each with its context.
            top_k: answers to each.
            max_answer_tokens: tokens of an answer at most.
            seconds: for each request.
        """
        asked = [pb.Question(question=question, context=text) for question, text in questions]
        make = partial(
            pb.AnswerRequest, model=model, top_k=top_k, max_answer_tokens=max_answer_tokens
        )
        parts = self._ask("Answer", seconds, asked, lambda some: make(questions=some))
        return joined(parts, "answers")

    def embed(self, model: str, texts: Texts, *, seconds: float = ANSWER_SECONDS) -> Embeddings:
        """A vector for each text.

        Args:
            model: the deployment.
            texts: to embed.
            seconds: for each request.
        """
        make = partial(pb.EmbedRequest, model=model)
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
