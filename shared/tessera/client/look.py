"""What a file of data is, from its beginning: compression, encoding, format, cells."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tessera import errors
from tessera.data.beginning import beginning
from tessera.data.content import UTF8_MARK, decoded, packing_of
from tessera.data.settings import COMMA, DataSettings
from tessera.data.sniff import sniff
from tessera.data.source import Source

MAX_BYTES = 64 << 20
"""Of a larger file only so much is looked at."""

_PARQUET = b"PAR1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What a file is.

    Args:
        source: its content, unpacked, or what was looked at of it.
        size: bytes on the disk.
        packing: ending of its compression, such as `.gz`; empty: none.
        encoding: of its text; empty: it is none.
        format: as `data.format` has it.
        delimiter: between its cells; empty: it has none.
        header: whether its first line names the columns; None: it has no cells.
        whole: whether all of it was looked at.
    """

    source: Source
    size: int
    packing: str
    encoding: str
    format: str
    delimiter: str = ""
    header: bool | None = None
    whole: bool = True

    @property
    def settings(self) -> DataSettings:
        """How to read it."""
        return DataSettings(
            files=(self.source.url,),
            format=self.format,
            header=self.header is not False,
            delimiter=self.delimiter or COMMA,
        )


def look(path: Path, field: str, limit: int = MAX_BYTES) -> Look:
    """Look at a file.

    Args:
        path: of it.
        field: of a spec that names it, for errors.
        limit: bytes of it that are looked at.

    Raises:
        InvalidArgumentError: DATA_UNREADABLE or DATA_NOT_TEXT.
        FailedPreconditionError: PYARROW_NOT_INSTALLED.
    """
    stored = Source(name=path.name, url=str(path), field=field, open=path.read_bytes)
    begun = beginning(stored, path, limit)
    size = path.stat().st_size
    if begun.content.startswith(_PARQUET):
        packing = begun.packing
        return Look(source=stored, size=size, packing=packing, encoding="", format="parquet")
    try:
        text = decoded(begun.content.removeprefix(UTF8_MARK))
    except UnicodeError as error:
        raise stored.wrong(f"{path.name}:{error}", "DATA_NOT_TEXT") from None
    name = path.stem if packing_of(path.name, b"") else path.name
    form = sniff(name, text)
    marked = begun.content.startswith(UTF8_MARK)
    return Look(
        source=Source(name=name, url=str(path), field=field, open=partial(bytes, begun.content)),
        size=size,
        packing=begun.packing,
        encoding="UTF-8 with a byte order mark" if marked else "UTF-8",
        format=form.format,
        delimiter=form.delimiter,
        header=form.header,
        whole=begun.whole,
    )


def look_at(paths: list[Path], limit: int = MAX_BYTES) -> list[Look]:
    """Look at files that are to be read together.

    Raises:
        InvalidArgumentError: as `look`; FORMATS_DIFFER.
    """
    looks = [look(path, f"data.files[{index}]", limit) for index, path in enumerate(paths)]
    first = looks[0]
    for each in looks:
        if each.format != first.format or each.delimiter != first.delimiter:
            description = (
                f"{each.source.url} is {_form(each)}, but {first.source.url} is {_form(first)}; "
                "files that are trained on together are of one form"
            )
            raise errors.InvalidArgumentError.at(each.source.field, description, "FORMATS_DIFFER")
    return looks


def _form(look: Look) -> str:
    return f"{look.format} with `{look.delimiter}`" if look.delimiter else look.format
