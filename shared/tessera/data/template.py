"""Several columns as one text: `{title}. {body}`. Pure."""

from __future__ import annotations

import string
from collections.abc import Callable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """Texts and the columns between them.

    Args:
        parts: pairs of a text and the column that follows it; of the last, the column may be "".
    """

    parts: tuple[tuple[str, str], ...]

    @classmethod
    def parse(cls, text: str) -> Template | None:
        """The template that a text is, `{{` and `}}` standing for braces; None: it names no column.

        Raises:
            ValueError: braces that do not match, or hold more than a name; says what is wrong.
        """
        parts: list[tuple[str, str]] = []
        for literal, name, form, conversion in string.Formatter().parse(text):
            if name == "" or form or conversion:
                raise ValueError("between braces stands the name of a column and nothing else")
            parts.append((literal, name or ""))
        return cls(parts=tuple(parts)) if any(name for _, name in parts) else None

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns, in their order."""
        return tuple(name for _, name in self.parts if name)

    def fill(self, value: Callable[[str], str]) -> str:
        """The text with the values of its columns, blank ends cut off; "" if all values are blank.

        Args:
            value: of a column.
        """
        values = [value(name) for name in self.columns]
        if not any(said.strip() for said in values):
            return ""
        return "".join(self._filled(iter(values))).strip()

    def _filled(self, values: Iterator[str]) -> Iterator[str]:
        for literal, name in self.parts:
            yield literal
            if name:
                yield next(values)
