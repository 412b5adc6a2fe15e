"""A spec file: the job that it describes, and where each of its fields stands."""

from __future__ import annotations

import errno
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from io import BufferedReader
from pathlib import Path

from tessera import errors, validation
from tessera.api.controller.v1.spec_pb2 import JobSpec
from tessera.spec.place import Place, wrong
from tessera.spec.reader import MessageReader
from tessera.spec.tree import override, parse

STDIN = "-"
"""In place of a file: what comes in."""

MAX_BYTES = 1 << 20
"""A larger file is surely none that a person has written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A spec and its places.

    Args:
        spec: as it is written, without defaults.
        source: name of the file.
        folder: that relative paths in the spec start from.
        places: of values, by dotted path.
        keys: of names, by dotted path.
    """

    spec: JobSpec
    source: str
    folder: Path
    places: dict[str, Place] = field(default_factory=dict)
    keys: dict[str, Place] = field(default_factory=dict)

    def place(self, path: str) -> Place:
        """Where a field stands, or the nearest one around it that is written down."""
        path = path.removeprefix("spec.")
        while path:
            for known in (self.places, self.keys):
                if path in known:
                    return known[path]
            path = re.sub(r"(\.[^.\[\]]+|\[[^\]]*\]|^[^.\[\]]+)$", "", path)
        return Place(source=self.source)

    def locate(self, error: errors.TesseraError) -> errors.TesseraError:
        """The same error with the place of its first field in front; others stay as they are."""
        if not error.violations or "source" in error.metadata:
            return error
        first, *rest = error.violations
        path = first.field.removeprefix("spec.")
        if re.split(r"[.\[]", path)[0] not in JobSpec.DESCRIPTOR.fields_by_name:
            return error
        text = error.message.removeprefix("spec.").removeprefix(f"{path}: ")
        if text == error.message.removeprefix("spec."):
            # The message does not begin with the field: what was said of the field does better.
            text = first.description.removeprefix(f"{path}: ")
            text += f" (and {len(rest)} more)" if rest else ""
        located = wrong(self.place(path), f"{path}: {text}", reason=error.reason, field=path)
        return type(error)(
            located.message,
            reason=error.reason,
            violations=error.violations,
            metadata={**error.metadata, **located.metadata},
        )


def read(path: str | Path, overrides: Sequence[str] = ()) -> Document:
    """Read a spec file, `-` for stdin; `overrides` are `key.key=value`, applied in their order.

    Relative paths in a spec of stdin start from the working directory.

    Raises:
        InvalidArgumentError: the file is missing, is not YAML, or breaks the form or a limit of a
            spec; the message begins with file:line:column.
    """
    source = "stdin" if str(path) == STDIN else str(path)
    return parse_document(content_of(Path(path), source), source, Path(path).parent, overrides)


def load(path: str | Path) -> JobSpec:
    """The spec in a file, without defaults. Raises as `read` does."""
    return read(path).spec


def parse_document(text: str, source: str, folder: Path, overrides: Sequence[str] = ()) -> Document:
    """Like `read`, for text that has been read already."""
    root = parse(text, source)
    for assignment in overrides:
        root = override(root, assignment)
    reader, spec = MessageReader(), JobSpec()
    reader.fill(spec, root)
    document = Document(
        spec=spec, source=source, folder=folder, places=reader.places, keys=reader.keys
    )
    if found := [_named(document, violation) for violation in validation.violations(spec)]:
        first, *rest = found
        raise wrong(
            document.place(first.field),
            f"{first.field}: {first.description}",
            reason="INVALID_FIELD",
            field=first.field,
            others=[violation.field for violation in rest],
        )
    return document


def _named(document: Document, violation: errors.Violation) -> errors.Violation:
    """A limit that a field breaks because it is not written at all is put so."""
    if violation.field in document.places:
        return violation
    return errors.Violation(violation.field, "it is missing")


def content_of(path: Path, source: str) -> str:
    """The text of a file, `-` for what comes in.

    Raises:
        InvalidArgumentError: it is missing, cannot be read, is over 1 MiB or not UTF-8.
    """
    place = Place(source=source)
    try:
        with _open(path) as file:
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise wrong(place, "there is no such file", reason="FILE_NOT_FOUND") from None
    except OSError as error:
        detail = (error.strerror or str(error)).lower()
        raise wrong(place, f"it cannot be read: {detail}", reason="FILE_NOT_READABLE") from None
    if len(content) > MAX_BYTES:
        raise wrong(place, "it is larger than 1 MiB", reason="BAD_YAML")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start]
        column = len(before.rpartition(b"\n")[2].decode(errors="replace")) + 1
        place = Place(source=source, line=before.count(b"\n") + 1, column=column)
        raise wrong(place, "this is not UTF-8", reason="NOT_UTF8") from None


def _open(path: Path) -> BufferedReader:
    if str(path) == STDIN:
        return standard_input()
    return path.open("rb")


def standard_input() -> BufferedReader:
    """What comes in, as bytes: the encoding of a terminal does not matter.

    Raises:
        OSError: it is closed.
    """
    if sys.stdin is None:
        raise OSError(errno.EBADF, "it is closed")
    return os.fdopen(sys.stdin.fileno(), "rb", closefd=False)
