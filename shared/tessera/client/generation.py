"""What deployed models write after a prompt: one part after the other, or many answers whole."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import TypedDict, Unpack

from tessera import errors
from tessera.api.inference.v1 import inference_pb2 as pb
from tessera.client.batches import range_checked, renamed
from tessera.client.inputs import Text, Texts, listed, to_input
from tessera.client.replicas import Replicas
from tessera.client.results import Results
from tessera.rpc.calls import Calls

ANSWER_SECONDS = 600.0

AT_ONCE = 32
"""Prompts that are continued at once: more than a replica's batch holds, so that it stays full."""

_PROMPT = re.compile(r"^(?:text|tokens)(?=[:.]|$)")
"""What begins with the field of a prompt."""


class SamplingParams(TypedDict, total=False):
    """How to write; what is left out, or None, is as the API has it.

    Args:
        max_tokens: to write at most.
        temperature: 0 takes the likeliest token.
        top_k: only the k likeliest; 0: all.
        top_p: only the likeliest that make up p together.
        seed: the same one gives the same answer.
        stop: ends the answer before it.
        logprobs: whether to tell the log-probability of every token.
        beams: hypotheses of a beam search, without chance.
        length_penalty: a hypothesis' score is divided by its length to this power.
    """

    max_tokens: int | None
    temperature: float | None
    top_k: int | None
    top_p: float | None
    seed: int | None
    stop: Sequence[str]
    logprobs: bool
    beams: int | None
    length_penalty: float | None


class TextGeneration:
    """Has prompts continued.

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
        seconds: float = ANSWER_SECONDS,
        **params: Unpack[SamplingParams],
    ) -> Iterator[pb.GenerateResponse]:
        """Continue a prompt; ending the iteration stops the work.

        The last part has a `finish_reason`; every part names the version that made it. With more
        than one of `beams`, the whole answer is one part.

        Args:
            model: the deployment.
            prompt: to continue.
            seconds: for the answer.
            params: how to go on; see `SamplingParams`.

        Raises:
            UnavailableError: no replica serves, or it died in the middle of the answer.
        """
        request = _request(model, to_input(prompt, "prompt"), **params)
        return self._replicas.stream("Generate", request, seconds=seconds)

    def generate_all(
        self,
        model: str,
        prompts: Texts,
        *,
        at_once: int = AT_ONCE,
        seconds: float = ANSWER_SECONDS,
        **params: Unpack[SamplingParams],
    ) -> Results[pb.GenerateResponse]:
        """Continue every prompt; each answer is whole, as if all its parts were one.

        Several run at once and share the replica's batch. Where one fails, the others are ended.

        Args:
            model: the deployment.
            prompts: to continue.
            at_once: prompts that are under way at once, at most.
            seconds: for each answer.
            params: how to go on, the same for all; see `SamplingParams`.
        """
        if at_once < 1:
            raise errors.InvalidArgumentError.at("at_once", "it must be 1 or more", "INVALID_FIELD")
        requests = [
            _request(model, to_input(prompt, f"prompts[{i}]"), **params)
            for i, prompt in enumerate(listed(prompts))
        ]
        calls = Calls()

        def ask(index: int) -> pb.GenerateResponse:
            with renamed(lambda text: _PROMPT.sub(rf"prompts[{index}].\g<0>", text)):
                parts = self._replicas.whole("Generate", requests[index], calls, seconds=seconds)
            return _joined(parts)

        with ThreadPoolExecutor(at_once, thread_name_prefix="generate") as pool:
            begun = [pool.submit(ask, index) for index in range(len(requests))]
            try:
                for each in as_completed(begun):
                    each.result()
            finally:
                calls.end()
                pool.shutdown(wait=False, cancel_futures=True)
        answers = tuple(each.result() for each in begun)
        return Results(values=answers, versions=tuple(answer.version for answer in answers))


def _request(
    model: str,
    prompt: pb.Input,
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
) -> pb.GenerateRequest:
    with range_checked():
        request = pb.GenerateRequest(
            model=model,
            max_tokens=max_tokens,
            sampling=pb.Sampling(temperature=temperature, top_k=top_k, top_p=top_p, seed=seed),
            stop=stop,
            logprobs=logprobs,
            beams=beams,
            length_penalty=length_penalty,
        )
    if prompt.HasField("text"):
        request.text = prompt.text
    else:
        request.tokens.CopyFrom(prompt.tokens)
    return request


def _joined(parts: Sequence[pb.GenerateResponse]) -> pb.GenerateResponse:
    whole = pb.GenerateResponse()
    for part in parts:
        whole.MergeFrom(part)
    whole.text = "".join(part.text for part in parts)
    return whole
