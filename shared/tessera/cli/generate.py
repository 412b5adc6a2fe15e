"""`tessera generate`."""

from __future__ import annotations

import sys
import time
from typing import Annotated

import typer

from tessera.api.inference.v1 import inference_pb2 as pb
from tessera.cli import show
from tessera.cli.connect import connect, settings_of
from tessera.cli.texts import ModelArgument


def generate(  # noqa: PLR0917 - typer fills in options by name
    context: typer.Context,
    name: ModelArgument,
    prompt: Annotated[
        str, typer.Argument(help="Text to continue; `-` reads it from stdin.", show_default=False)
    ],
    max_tokens: Annotated[
        int | None, typer.Option(help="Tokens to write at most.", show_default="128")
    ] = None,
    temperature: Annotated[
        float | None, typer.Option(help="0 takes the likeliest token.", show_default="1")
    ] = None,
    top_k: Annotated[
        int | None, typer.Option(help="Only the k likeliest; 0: all.", show_default="0")
    ] = None,
    top_p: Annotated[
        float | None,
        typer.Option(help="Only the likeliest that make up p together.", show_default="1"),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="The same seed gives the same answer.")] = None,
    stop: Annotated[
        list[str] | None, typer.Option(help="Stop before this text; repeat it.")
    ] = None,
    logprobs: Annotated[
        bool, typer.Option("--logprobs", help="Also the log-probability of every token.")
    ] = False,
    beams: Annotated[
        int | None,
        typer.Option(help="Hypotheses of a beam search, without chance.", show_default="1"),
    ] = None,
    length_penalty: Annotated[
        float | None,
        typer.Option(help="Of the beam search: scores are divided by length to this power."),
    ] = None,
) -> None:
    """Let a deployed model continue a prompt.

    tessera generate writer "def add(a, b):" --temperature 0.8 --seed 1
    tessera generate writer "def add(a, b):" --beams 4 --max-tokens 60
    """
    text = sys.stdin.read() if prompt == "-" else prompt
    json = settings_of(context).json
    written, scores, started = 0, list[tuple[int, float]](), time.monotonic()
    part = pb.GenerateResponse()
    with connect(context) as client:
        for part in client.generate(
            name,
            text,
            max_tokens=max_tokens,
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            seed=seed,
            stop=stop or (),
            logprobs=logprobs,
            beams=beams,
            length_penalty=length_penalty,
        ):
            written += len(part.tokens)
            scores += zip(part.tokens, part.logprobs, strict=False)
            if json:
                show.as_json(part, stream=True)
            else:
                sys.stdout.write(part.text)
                sys.stdout.flush()
    if json:
        return
    show.line("")
    for token, score in scores:
        show.note(f"{token:>8}  {score:.6f}")
    show.note(_summary(part, written, time.monotonic() - started))


def _summary(last: pb.GenerateResponse, written: int, seconds: float) -> str:
    why = show.enum(pb.FinishReason.Name(last.finish_reason), "FINISH_REASON_").lower()
    return (
        f"version {last.version} · {last.prompt_tokens} + {written} tokens · "
        f"{written / max(seconds, 1e-9):.0f} tokens/s · ended by {why}"
    )
