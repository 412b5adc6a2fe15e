"""The texts that a command is about: arguments, or the lines of a file as they come."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from io import BufferedReader
from pathlib import Path
from typing import Annotated

import typer

from tessera import errors
from tessera.spec.document import STDIN, standard_input

BLOCK_BYTES = 1 << 16

ModelArgument = Annotated[
    str, typer.Argument(metavar="MODEL", help="Name of the deployment.", show_default=False)
]
TextsArgument = Annotated[
    list[str] | None, typer.Argument(metavar="TEXT", help="The texts.", show_default=False)
]
FileOption = Annotated[
    str, typer.Option("--file", "-f", help="Texts from a file, one a line; `-`: from stdin.")
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A text, where it stands, and the second text that goes with it, if there is one."""

    text: str
    place: str
    second: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Lines:
    """Lines in blocks: those that were there when the block was asked for.

    Args:
        blocks: of lines.
        total: how many lines there are in all; None: nobody knows.
    """

    blocks: Iterator[list[Line]]
    total: int | None


def read_texts(texts: Sequence[str] | None, file: str, *, option: str = "") -> Lines:
    """Texts of the command line, or else of a file.

    Args:
        texts: arguments.
        file: name of a file, `-` for stdin, or empty.
        option: that stands before each text, if one does.

    Raises:
        InvalidArgumentError: NO_TEXT, TWO_SOURCES, FILE_NOT_FOUND, FILE_NOT_READABLE.
    """
    from_file = f"{option}-file" if option else "--file"
    if texts and file:
        raise errors.InvalidArgumentError(
            f"give texts or {from_file}, not both", reason="TWO_SOURCES"
        )
    if file:
        stream, total = _open(file)
        return Lines(blocks=_blocks(stream, "stdin" if file == STDIN else file), total=total)
    if not texts:
        raise errors.InvalidArgumentError(
            f"there is no text; give some, or a file of them with {from_file}", reason="NO_TEXT"
        )
    name = option or "text"
    lines = [
        Line(text=text, place=f"{name} {i + 1}" if len(texts) > 1 else option)
        for i, text in enumerate(texts)
    ]
    return Lines(blocks=iter([lines]), total=len(lines))


def beside(firsts: Lines, seconds: Lines) -> Lines:
    """Each text with the second one of its place; a single one goes with every text.

    Raises:
        InvalidArgumentError: NUMBERS_DIFFER, when the blocks are asked for.
    """
    return Lines(blocks=_beside(firsts.blocks, seconds), total=firsts.total)


def paired(firsts: Lines, texts: Sequence[str] | None, file: str, *, option: str) -> Lines:
    """Each text with a second one as `beside` has it, or alone where no second ones are given.

    Args:
        firsts: the texts.
        texts: second ones, as arguments.
        file: name of a file of second ones, or empty.
        option: that stands before each second text.

    Raises:
        InvalidArgumentError: as `read_texts` and `beside`.
    """
    return beside(firsts, read_texts(texts, file, option=option)) if texts or file else firsts


def seconds_of(lines: Sequence[Line]) -> list[str] | None:
    """The second texts of lines; None: they have none."""
    return [line.second for line in lines if line.second is not None] or None


def _beside(firsts: Iterator[list[Line]], seconds: Lines) -> Iterator[list[Line]]:
    others = (line for block in seconds.blocks for line in block)
    repeated = next(others) if seconds.total == 1 else None
    place = ""
    for block in firsts:
        done = []
        for line in block:
            place = line.place
            other = repeated or next(others, None)
            if other is None:
                raise errors.InvalidArgumentError(
                    f"{place}: there is no second text for it; give one for each, or one for all",
                    reason="NUMBERS_DIFFER",
                )
            done.append(replace(line, second=other.text))
        yield done
    if (left := next(others, None)) is not None:
        raise errors.InvalidArgumentError(
            f"{left.place}: there is no text for it; the last one is {place}",
            reason="NUMBERS_DIFFER",
        )


def read_whole(file: str) -> str:
    """The whole text of a file, `-` for stdin.

    Raises:
        InvalidArgumentError: FILE_NOT_FOUND, FILE_NOT_READABLE, NOT_UTF8.
    """
    stream, _ = _open(file)
    with stream:
        content = stream.read()
    name = "stdin" if file == STDIN else file
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start)
        # The line says it.
        return _decoded(content.split(b"\n")[line], f"{name}:{line + 1}")


def _open(file: str) -> tuple[BufferedReader, int | None]:
    """A file and the number of its lines, as far as that can be told before it is read."""
    try:
        if file == STDIN:
            return standard_input(), None
        stream = Path(file).open("rb")  # noqa: SIM115 - whoever reads its lines closes it
        if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
            return stream, None
        total, last = 0, b"\n"
        while block := stream.read(BLOCK_BYTES):
            total, last = total + block.count(b"\n"), block[-1:]
        stream.seek(0)
    except FileNotFoundError:
        raise errors.InvalidArgumentError(
            f"{file}: there is no such file", reason="FILE_NOT_FOUND"
        ) from None
    except OSError as error:
        detail = (error.strerror or str(error)).lower()
        raise errors.InvalidArgumentError(
            f"{file}: it cannot be read: {detail}", reason="FILE_NOT_READABLE"
        ) from None
    return stream, total + (last != b"\n")


def _blocks(stream: BufferedReader, name: str) -> Iterator[list[Line]]:
    """Lines as they come: those that are there, without waiting for more."""
    count, rest = 0, b""
    with stream:
        while block := stream.read1(BLOCK_BYTES):
            *lines, rest = (rest + block).split(b"\n")
            yield _lines(lines, name, count)
            count += len(lines)
    if rest:
        yield _lines([rest], name, count)


def _lines(lines: list[bytes], name: str, count: int) -> list[Line]:
    places = [f"{name}:{count + i + 1}" for i in range(len(lines))]
    return [
        Line(text=_decoded(line.removesuffix(b"\r"), place), place=place)
        for line, place in zip(lines, places, strict=True)
    ]


def _decoded(content: bytes, place: str) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise errors.InvalidArgumentError(
            f"{place}: it is not UTF-8 (byte {error.start})", reason="NOT_UTF8"
        ) from None
