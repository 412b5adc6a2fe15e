"""`tessera fill-mask`."""

from __future__ import annotations

from typing import Annotated

import typer

from tessera.api.inference.v1 import inference_pb2 as pb
from tessera.cli import bulk, show
from tessera.cli.texts import FileOption, Line, ModelArgument, TextsArgument, read_texts


def fill_mask(
    context: typer.Context,
    name: ModelArgument,
    texts: TextsArgument = None,
    file: FileOption = "",
    top_k: Annotated[
        int | None, typer.Option(help="Candidates for each place.", show_default="5")
    ] = None,
) -> None:
    """Tell what may stand where a text has the mask token.

    tessera fill-mask words "Paris is the capital of [MASK]."
    tessera fill-mask words --file gaps.txt --top-k 1
    """
    answers = bulk.ask(
        context,
        read_texts(texts, file),
        lambda client, lines: client.fill_mask(name, [line.text for line in lines], top_k=top_k),
    )
    bulk.tell(context, answers, _tell)


def _tell(_line: Line, found: pb.FilledText) -> None:
    masks = [
        bulk.ranking([(item.text, item.probability) for item in mask.candidates])
        for mask in found.masks
    ]
    show.line("  |  ".join(masks))
