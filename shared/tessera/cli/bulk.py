"""Questions to a model, many at a time: what comes is printed as it comes."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import typer
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

from tessera import errors
from tessera.cli import show
from tessera.cli.connect import connect, options_of
from tessera.cli.texts import Line, Lines
from tessera.client import Client
from tessera.client.results import Results
from tessera.spec import plain

FEW = 64
"""So many texts are answered before anybody wonders."""

BATCH = 256
"""Texts that are asked about at once."""

T = TypeVar("T")

_PLACE = re.compile(r"\w+\[(\d+)\]")


def plain_values(result: Any) -> dict[str, Any]:
    """The fields of a message."""
    found: dict[str, Any] = plain(result, zeros=True)
    return found


def ask(
    context: typer.Context,
    lines: Lines,
    question: Callable[[Client, Sequence[Line]], Results[T]],
    *,
    batch: int = BATCH,
) -> Iterator[tuple[Line, T, int]]:
    """Each text, its result, and the version of the weights that made it, as they come.

    Args:
        context: of the command.
        lines: the texts.
        question: asks about some of them.
        batch: texts that are asked about at once, at most.
    """
    with connect(context) as client, _progress(lines.total) as advance:
        for block in lines.blocks:
            for begin in range(0, len(block), batch):
                some = block[begin : begin + batch]
                with _placed(some):
                    results = question(client, some)
                for answer in zip(some, results, results.versions, strict=True):
                    yield answer
                    advance(1)


def tell(
    context: typer.Context,
    answers: Iterator[tuple[Line, T, int]],
    print_one: Callable[[Line, T], None],
    *,
    values: Callable[[T], dict[str, Any]] = plain_values,
) -> None:
    """Print what `ask` gives, and how it went.

    Args:
        context: of the command.
        answers: each text, its result and a version.
        print_one: prints the result of one for people.
        values: the result of one for machines.
    """
    json = options_of(context).json
    count, versions, begin = 0, dict[int, None](), time.monotonic()
    for line, result, version in answers:
        if json:
            found = {"text": line.text, "version": version, **values(result)}
            show.as_json(found, stream=True)
        else:
            print_one(line, result)
        count, versions = count + 1, {**versions, version: None}
    if not json:
        show.note(summary(count, list(versions), time.monotonic() - begin))


def summary(count: int, versions: Sequence[int], seconds: float) -> str:
    """How many texts were answered, by what, and how fast."""
    if not count:
        return "no texts"
    made_by = f"version{'s' if len(versions) > 1 else ''} {', '.join(map(str, versions))}"
    texts = f"{count} text{'s' if count > 1 else ''}"
    return f"{made_by} · {texts} · {count / max(seconds, 1e-9):.1f} texts/s"


def one_line(text: str) -> str:
    """A text with its line ends written out, so that it stays one line."""
    return text.replace("\r", "\\r").replace("\n", "\\n")


def ranking(pairs: Sequence[tuple[str, float]]) -> str:
    """Names and their probabilities in one line."""
    return "  ".join(f"{one_line(name)} {probability:.3f}" for name, probability in pairs)


@contextmanager
def _placed(lines: Sequence[Line]) -> Iterator[None]:
    """Errors about one of the texts tell where that stands."""
    try:
        yield
    except errors.InvalidArgumentError as error:
        first = error.violations[0] if error.violations else errors.Violation("", "")
        found = _PLACE.match(first.field)
        if found is None:
            raise
        place = lines[int(found[1])].place
        raise errors.InvalidArgumentError(
            f"{place}: {first.description}" if place else first.description,
            reason=error.reason,
            violations=error.violations,
        ) from None


@contextmanager
def _progress(total: int | None) -> Iterator[Callable[[int], object]]:
    """A bar, where people wait and see it: above it on a terminal, what is printed."""
    on_stdout = sys.stdout.isatty()
    seen = on_stdout or sys.stderr.isatty()
    typed = total is None and sys.stdin.isatty()
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=show.console(stderr=not on_stdout),
        transient=True,
        redirect_stdout=on_stdout,
        disable=not seen or typed or (total is not None and total <= FEW),
    )
    with bar:
        task = bar.add_task("texts", total=total)
        yield lambda count: bar.advance(task, count)
