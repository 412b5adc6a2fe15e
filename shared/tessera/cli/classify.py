"""`tessera classify`."""

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


def classify(  # noqa: PLR0917 - typer fills in options by name
    context: typer.Context,
    name: ModelArgument,
    texts: TextsArgument = None,
    file: FileOption = "",
    pair: Annotated[
        list[str] | None,
        typer.Option(help="A second text that is read beside each; one for all, or repeat it."),
    ] = None,
    pair_file: Annotated[str, typer.Option(help="Second texts from a file, one a line.")] = "",
    top_k: Annotated[int, typer.Option(help="Only the k likeliest classes; 0: all.")] = 5,
) -> None:
    """Tell the classes of each text, or of each of its tokens.

    tessera classify stars "What a film!" "Two lost hours."
    tessera classify reranker "where do cats sleep" --pair "Cats sleep in the sun."
    tessera classify entails "A man sleeps." --pair "Somebody is awake."
    tessera classify stars --file reviews.txt --output json > classes.jsonl
    """
    answers = bulk.ask(
        context,
        paired(read_texts(texts, file), pair, pair_file, option="--pair"),
        lambda client, some: client.classify(
            name,
            [line.text for line in some],
            pairs=seconds_of(some),
            top_k=top_k,
        ),
    )
    bulk.tell(context, answers, _tell)


def _tell(line: Line, found: pb.Classification) -> None:
    if found.HasField("score"):
        show.line(f"{found.score:.4f}  {bulk.one_line(line.text)}")
        return
    if found.labels:
        show.line(bulk.ranking([(item.label, item.probability) for item in found.labels]))
        return
    for piece in found.tokens:
        place = f"{piece.begin}:{piece.end}"
        label = f"{piece.label.label:<12} {piece.label.probability:.3f}"
        show.line(f"{place:<9} {label}  {bulk.one_line(piece.text)}")
    show.line("")
