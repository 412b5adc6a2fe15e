"""`tessera translate`."""

from __future__ import annotations

from typing import Annotated

import typer

from tessera.api.inference.v1 import inference_pb2 as pb
from tessera.cli import bulk, show
from tessera.cli.texts import FileOption, Line, ModelArgument, TextsArgument, read_texts

BATCH = 32
"""Writing takes long: few at a time, so that the first is there soon."""


def translate(  # noqa: PLR0917 - typer fills in options by name
    context: typer.Context,
    name: ModelArgument,
    texts: TextsArgument = None,
    file: FileOption = "",
    beams: Annotated[
        int | None,
        typer.Option(help="Hypotheses that the search follows; 1: none is made.", show_default="1"),
    ] = None,
    length_penalty: Annotated[
        float | None,
        typer.Option(help="Scores are divided by length to this power.", show_default="1"),
    ] = None,
    hypotheses: Annotated[
        int | None,
        typer.Option(help="To show for each text, with their scores.", show_default="1"),
    ] = None,
    max_tokens: Annotated[
        int | None, typer.Option(help="Tokens to write for each at most.", show_default="128")
    ] = None,
) -> None:
    """Write what belongs to each text.

    tessera translate en-de "The cat sleeps." --beams 4
    tessera translate en-de --file sentences.en > sentences.de
    """

    def tell(_line: Line, found: pb.Translation) -> None:
        for hypothesis in found.hypotheses:
            text = bulk.one_line(hypothesis.text)
            show.line(text if hypotheses is None else f"{hypothesis.score:>9.4f}  {text}")

    answers = bulk.ask(
        context,
        read_texts(texts, file),
        lambda client, lines: client.translate(
            name,
            [line.text for line in lines],
            max_tokens=max_tokens,
            beams=beams,
            length_penalty=length_penalty,
            hypotheses=hypotheses,
        ),
        batch=BATCH,
    )
    bulk.tell(context, answers, tell)
