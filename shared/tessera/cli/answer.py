"""`tessera answer`."""

from __future__ import annotations

from typing import Annotated

import typer

from tessera import errors
from tessera.api.inference.v1 import inference_pb2 as pb
from tessera.cli import bulk, show
from tessera.cli.texts import Line, ModelArgument, beside, read_texts, read_whole
from tessera.client.results import has_answer


def answer(  # noqa: PLR0917 - typer fills in options by name
    context: typer.Context,
    name: ModelArgument,
    question: Annotated[
        list[str], typer.Option(help="What to ask; repeat it.", show_default=False)
    ],
    text: Annotated[
        list[str] | None,
        typer.Option("--context", help="The text that may answer it; one for all, or repeat it."),
    ] = None,
    context_file: Annotated[
        str, typer.Option(help="The text from a file, all of it; `-`: from stdin.")
    ] = "",
    top_k: Annotated[
        int | None, typer.Option(help="Answers to each question.", show_default="1")
    ] = None,
    max_answer_tokens: Annotated[
        int | None, typer.Option(help="Tokens of an answer at most.", show_default="30")
    ] = None,
) -> None:
    """Find the answer to each question in its context.

    Where it is likelier that there is none, a line says so before the pieces that come next.

    tessera answer reader --question "Who wrote it?" --context "Ada wrote it in 1843."
    tessera answer reader --question "When?" --question "Where?" --context-file letter.txt
    """
    if text and context_file:
        raise errors.InvalidArgumentError(
            "give --context or --context-file, not both", reason="TWO_SOURCES"
        )
    texts = [read_whole(context_file)] if context_file else text
    lines = beside(read_texts(question, ""), read_texts(texts, "", option="--context"))
    answers = bulk.ask(
        context,
        lines,
        lambda client, some: client.answer(
            name,
            [(line.text, str(line.second)) for line in some],
            top_k=top_k,
            max_answer_tokens=max_answer_tokens,
        ),
    )
    bulk.tell(context, answers, _tell)


def _tell(_line: Line, found: pb.Answers) -> None:
    if not has_answer(found):
        show.line(f"no answer, with probability {found.no_answer_probability:.3f}")
    for span in found.spans:
        place = f"characters {span.begin} to {span.end}"
        show.line(f"{span.probability:.3f}  {bulk.one_line(span.text)}  ({place})")
