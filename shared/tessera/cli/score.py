"""`tessera score`."""

from __future__ import annotations

from typing import Annotated

import typer

from tessera.api.inference.v1 import inference_pb2 as pb
from tessera.cli import bulk, show
from tessera.cli.texts import (
    FileOption,
    Line,
    ModelArgument,
    TextsArgument,
    paired,
    read_texts,
    seconds_of,
)


def score(  # noqa: PLR0917 - typer fills in options by name
    context: typer.Context,
    name: ModelArgument,
    texts: TextsArgument = None,
    file: FileOption = "",
    before: Annotated[
        list[str] | None,
        typer.Option(
            "--context",
            help="What stands before each text, or what an encoder reads; one for all, or repeat.",
        ),
    ] = None,
    context_file: Annotated[str, typer.Option(help="Contexts from a file, one a line.")] = "",
) -> None:
    """Tell how likely the model finds each text.

    For each text: the log-probability of all its tokens, that of a token on average, the tokens.

    tessera score writer "def add(a, b):" "def add a b"
    tessera score en-de "Die Katze schläft." "Der Hund schläft." --context "The cat sleeps."
    """
    answers = bulk.ask(
        context,
        paired(read_texts(texts, file), before, context_file, option="--context"),
        lambda client, some: client.score(
            name,
            [line.text for line in some],
            contexts=seconds_of(some),
        ),
    )
    bulk.tell(context, answers, _tell)


def _tell(line: Line, found: pb.Scored) -> None:
    count = len(found.tokens)
    mean = found.total / max(count, 1)
    show.line(f"{found.total:>12.4f}  {mean:>9.4f}  {count:>5}  {bulk.one_line(line.text)}")
