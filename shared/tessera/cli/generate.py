"""`tessera generate`."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from typing import Annotated, Any

import typer

from tessera.api.inference.v1 import inference_pb2 as pb
from tessera.cli import bulk, show
from tessera.cli.connect import connect, options_of
from tessera.cli.texts import FileOption, Line, ModelArgument, read_texts, read_whole
from tessera.client.generation import AT_ONCE, SamplingParams
from tessera.spec.document import STDIN


def generate(  # noqa: PLR0917 - typer fills in options by name
    context: typer.Context,
    name: ModelArgument,
    prompts: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="PROMPT",
            help="Texts to continue; a single `-` reads one from stdin, all of it.",
            show_default=False,
        ),
    ] = None,
    file: FileOption = "",
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
    """Let a deployed model continue prompts.

    A single prompt's answer is printed as it is written. Several are continued at once, and each
    answer is printed whole, in a line of its own.

    tessera generate writer "def add(a, b):" --temperature 0.8 --seed 1
    tessera generate writer "def add(a, b):" --beams 4 --max-tokens 60
    tessera generate writer --file prompts.txt --output json > answers.jsonl
    """
    params = SamplingParams(
        max_tokens=max_tokens,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        seed=seed,
        stop=stop or (),
        logprobs=logprobs,
        beams=beams,
        length_penalty=length_penalty,
    )
    if prompts and len(prompts) == 1 and not file:
        _stream(context, name, read_whole(STDIN) if prompts[0] == STDIN else prompts[0], params)
        return
    answers = bulk.ask(
        context,
        read_texts(prompts, file),
        lambda client, some: client.generate_all(name, [line.text for line in some], **params),
        batch=AT_ONCE,
    )
    bulk.tell(context, answers, _tell, values=_values)


def _stream(context: typer.Context, name: str, prompt: str, params: SamplingParams) -> None:
    json = options_of(context).json
    written, scores, started = 0, list[tuple[int, float]](), time.monotonic()
    part = pb.GenerateResponse()
    with connect(context) as client:
        for part in client.generate(name, prompt, **params):
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
    _note_scores(scores)
    show.note(_summary(part, written, time.monotonic() - started))


def _tell(_line: Line, found: pb.GenerateResponse) -> None:
    show.line(bulk.one_line(found.text))
    _note_scores(zip(found.tokens, found.logprobs, strict=False))


def _values(found: pb.GenerateResponse) -> dict[str, Any]:
    # `text` is the prompt, as it is with every other command.
    values = bulk.plain_values(found)
    return {"answer": values.pop("text"), **values}


def _note_scores(scores: Iterable[tuple[int, float]]) -> None:
    for token, score in scores:
        show.note(f"{token:>8}  {score:.6f}")


def _summary(last: pb.GenerateResponse, written: int, seconds: float) -> str:
    why = show.enum(pb.FinishReason.Name(last.finish_reason), "FINISH_REASON_").lower()
    return (
        f"version {last.version} · {last.prompt_tokens} + {written} tokens · "
        f"{written / max(seconds, 1e-9):.0f} tokens/s · ended by {why}"
    )
