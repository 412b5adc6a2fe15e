"""`tessera data`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from tessera import errors
from tessera.api.controller.v1.spec_pb2 import JobSpec
from tessera.cli import show
from tessera.cli.connect import options_of
from tessera.client.data_spec import data_spec
from tessera.client.guess import guess
from tessera.client.local_files import expand
from tessera.client.look import Look, look_at
from tessera.client.prepare import prepare
from tessera.client.survey import ColumnSurvey, Survey, survey
from tessera.data.sniff import DELIMITERS
from tessera.spec import dump, plain
from tessera.spec.urls import split_url

_WIDEST = 40
_CLASSES_SHOWN = 20
_PACKINGS = {".gz": "gzip", ".bz2": "bzip2", ".xz": "xz", ".zst": "Zstandard"}


def data(
    context: typer.Context,
    files: Annotated[list[str], typer.Argument(help="Files or globs.", show_default=False)],
    write: Annotated[
        Path | None, typer.Option(help="Write the spec to this file.", show_default=False)
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Write over a file.")] = False,
) -> None:
    """Look at files of data, and say how a job would learn from them.

    Nothing is sent, and no platform is needed. What is guessed is said; the spec that is written
    submits as it stands, and is the place to correct it.

    tessera data reviews.csv
    tessera data 'news/*.tsv.gz' --write news.yaml
    """
    paths = [path for entry in files for path in _named(entry)]
    looks = look_at(paths)
    found = survey(looks)
    folder = write.parent if write else Path()
    guessed = guess(found.columns)
    spec = data_spec(looks, guessed, folder)
    label = guessed.label if guessed else ""
    if options_of(context).json:
        show.as_json(_plain(looks, found, spec))
    else:
        _show(looks, found, label)
        _show_spec(spec, _numbered(found, label))
    if spec is None:
        return
    prepare(spec, folder)
    if write is not None:
        _write(write, spec, _numbered(found, label), force=force)
        show.note(f"tessera: wrote {write}; `tessera submit {write}` trains on it")


def _named(entry: str) -> list[Path]:
    if split_url(entry)[0]:
        raise errors.InvalidArgumentError(
            f"`{entry}` does not lie on this machine; name files that do", reason="FILE_NOT_FOUND"
        )
    try:
        return [_shortened(path) for path in expand(entry, Path(), "FILE")]
    except errors.InvalidArgumentError as error:
        message = error.message.removeprefix("FILE: ")
        raise errors.InvalidArgumentError(message, reason=error.reason) from None


def _shortened(path: Path) -> Path:
    """A path as people write it."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def _show(looks: Sequence[Look], found: Survey, label: str) -> None:
    for look in looks:
        show.line(f"{look.source.url}: {', '.join(_form(look))}")
    part = "" if all(look.whole for look in looks) else "at least "
    show.line(f"{part}{found.rows:,} rows, {len(found.columns)} columns\n")
    show.table(
        ("COLUMN", "TYPE", "BLANK", "CLASSES", "CHARACTERS", "FIRST VALUES"),
        [_row(column) for column in found.columns],
        empty="no columns",
    )
    show.line("\nThe first rows:\n")
    names = [_short(column.name) for column in found.columns]
    show.table(names, [[_short(cell) for cell in row] for row in found.sample], empty="no rows")
    classes = next((column.classes for column in found.columns if column.name == label), {})
    if classes:
        show.line(f"\nThe classes in `{label}`:\n")
        listed = list(classes.items())[:_CLASSES_SHOWN]
        share = [(name, f"{count:,}", f"{count / found.rows:.1%}") for name, count in listed]
        show.table(("CLASS", "ROWS", "SHARE"), share, empty="none")
        if len(classes) > _CLASSES_SHOWN:
            show.line(f"and {len(classes) - _CLASSES_SHOWN} more")


def _form(look: Look) -> Iterator[str]:
    yield look.format
    if look.packing:
        yield f"packed by {_PACKINGS[look.packing]}"
    if look.encoding:
        yield look.encoding
    if look.delimiter:
        yield f"cells between {DELIMITERS[look.delimiter]}s"
    if look.header is not None:
        yield "first line names the columns" if look.header else "no header"
    yield show.size(look.size)


def _row(column: ColumnSurvey) -> tuple[str, ...]:
    lengths = column.lengths
    kind = f"{column.kind}: {', '.join(column.inner)}" if column.inner else column.kind
    return (
        _short(column.name),
        _short(kind),
        str(column.blank or ""),
        str(len(column.classes) or ""),
        f"{lengths.least} … {lengths.middle} … {lengths.most}" if lengths else "",
        " | ".join(_short(value) for value in column.first),
    )


def _short(text: str) -> str:
    return text if len(text) <= _WIDEST else f"{text[: _WIDEST - 1]}…"


def _numbered(found: Survey, label: str) -> list[str]:
    """The classes, if they are numbers, which people will want to name."""
    classes = next((column.classes for column in found.columns if column.name == label), {})
    return list(classes) if classes and all(name.isdecimal() for name in classes) else []


def _advice(numbers: Sequence[str]) -> list[str]:
    """Comments for a spec whose classes are numbers."""
    if not numbers:
        return []
    shown, more = numbers[:_CLASSES_SHOWN], ", …" if len(numbers) > _CLASSES_SHOWN else ""
    first = int(numbers[0])
    if first in {0, 1} and [int(number) for number in numbers] == list(
        range(first, first + len(numbers))
    ):
        names = ", ".join(f"name of {number}" for number in shown)
        where, field = "`task`, in this order", f"labels: [{names}{more}]"
    else:
        names = ", ".join(f'"{number}": name of {number}' for number in shown)
        where, field = "`data`", f"label_names: {{{names}{more}}}"
    return [
        f"The classes are numbers. To have answers in words, name them in {where}:",
        f"  {field}",
    ]


def _show_spec(spec: JobSpec | None, numbers: Sequence[str]) -> None:
    if spec is None:
        show.line("\nNo task is known for such columns; name yours in `data.columns` of a spec.")
        return
    show.line("\nA spec for it:\n")
    for text in dump(spec).splitlines():
        show.line(f"  {text}")
    for text in _advice(numbers):
        show.line(f"  # {text}")


def _write(path: Path, spec: JobSpec, numbers: Sequence[str], *, force: bool) -> None:
    content = dump(spec) + "".join(f"# {text}\n" for text in _advice(numbers))
    try:
        with path.open("w" if force else "x", encoding="utf-8") as file:
            file.write(content)
    except FileExistsError:
        raise errors.AlreadyExistsError(
            f"{path} is there already; name another file, or add --force", reason="FILE_EXISTS"
        ) from None
    except OSError as error:
        detail = (error.strerror or str(error)).lower()
        raise errors.InvalidArgumentError(
            f"{path} cannot be written: {detail}", reason="FILE_NOT_WRITABLE"
        ) from None


def _plain(looks: Sequence[Look], found: Survey, spec: JobSpec | None) -> dict[str, Any]:
    return {
        "files": [
            {
                "file": look.source.url,
                "format": look.format,
                "compression": _PACKINGS.get(look.packing, ""),
                "encoding": look.encoding,
                "delimiter": look.delimiter,
                "header": look.header,
                "bytes": look.size,
                "whole": look.whole,
            }
            for look in looks
        ],
        "rows": found.rows,
        "columns": [
            {
                "name": column.name,
                "type": column.kind,
                "blank": column.blank,
                "first": list(column.first),
                "classes": dict(column.classes),
                "characters": [column.lengths.least, column.lengths.middle, column.lengths.most]
                if column.lengths
                else [],
            }
            for column in found.columns
        ],
        "sample": [list(row) for row in found.sample],
        "spec": None if spec is None else plain(spec),
    }
