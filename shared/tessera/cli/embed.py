"""`tessera embed`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Annotated

import numpy as np
import typer
from numpy.typing import NDArray

from tessera import errors
from tessera.cli import bulk, show
from tessera.cli.connect import options_of
from tessera.cli.texts import FileOption, Line, ModelArgument, TextsArgument, read_texts
from tessera.client import Client
from tessera.client.results import Results

SHOWN = 4
"""Numbers of a vector that people get to see."""

Vector = NDArray[np.float32]


def embed(  # noqa: PLR0917 - options
    context: typer.Context,
    name: ModelArgument,
    texts: TextsArgument = None,
    file: FileOption = "",
    prompt_name: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Which of the model's prompts stands before every text."),
    ] = None,
    prompt: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help='What stands before every text; "" for nothing.'),
    ] = None,
    save: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.npy", dir_okay=False, help="Write all vectors there, for numpy.load."
        ),
    ] = None,
) -> None:
    """Turn each text into a vector.

    tessera embed meaning "A cat sleeps." "A kitten naps." --output json
    tessera embed search "where do cats sleep" --prompt-name query
    tessera embed meaning --file sentences.txt --save vectors.npy
    """
    lines = read_texts(texts, file)

    def question(client: Client, some: Sequence[Line]) -> Results[Vector]:
        found = client.embed(
            name, [line.text for line in some], prompt_name=prompt_name, prompt=prompt
        )
        return Results(values=tuple(found.vectors), versions=found.versions)

    answers = bulk.ask(context, lines, question)
    if save is None:
        bulk.tell(context, answers, _tell, values=_values)
    else:
        _save(context, answers, save)


def _tell(line: Line, vector: Vector) -> None:
    numbers = " ".join(f"{number:>7.4f}" for number in vector[:SHOWN])
    show.line(f"{numbers} … ({len(vector)} numbers)  {bulk.one_line(line.text)}")


def _values(vector: Vector) -> dict[str, list[float]]:
    # As few digits as tell one float32 from all others.
    return {"vector": [float(str(number)) for number in vector]}


def _save(context: typer.Context, answers: Iterator[tuple[Line, Vector, int]], path: Path) -> None:
    rows: list[Vector] = []
    versions: dict[int, None] = {}
    with _whole_or_not(path) as stream:
        for _, vector, version in answers:
            rows.append(vector)
            versions[version] = None
        matrix = np.stack(rows) if rows else np.empty((0, 0), np.float32)
        np.save(stream, matrix)
    count, width = matrix.shape
    if options_of(context).json:
        facts = {"file": str(path), "vectors": count, "width": width, "versions": list(versions)}
        show.as_json(facts)
    else:
        show.line(f"{path}: {count} vectors of {width} numbers, float32")


@contextmanager
def _whole_or_not(path: Path) -> Iterator[IO[bytes]]:
    """A file that is in its place only once all of it is written.

    Raises:
        InvalidArgumentError: FILE_NOT_WRITABLE.
    """
    scratch = path.with_name(f".{path.name}.part")
    try:
        stream = scratch.open("wb")
    except OSError as error:
        detail = (error.strerror or str(error)).lower()
        raise errors.InvalidArgumentError(
            f"{path}: it cannot be written: {detail}", reason="FILE_NOT_WRITABLE"
        ) from None
    try:
        with stream:
            yield stream
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)
