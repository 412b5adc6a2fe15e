"""Amounts of resources as people write and read them: `H100=8`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import typer

from tessera.cli.sizes import parse_size, show_size

MEMORY = "memory"


def amount(text: str, option: str, like: str) -> tuple[str, float]:
    """A name and a number.

    Args:
        text: `NAME=…`.
        option: that it is given to.
        like: how it should look, for example `NAME=NUMBER, as `CPU=2` is`.

    Raises:
        BadParameter: it is none.
    """
    name, _, number = text.partition("=")
    try:
        found = float(number)
    except ValueError:
        found = math.nan
    if not name or not 0 <= found < math.inf:
        raise typer.BadParameter(f"{option}: `{text}` is not {like}")
    return name, found


def quotas(given: Sequence[str] | None, option: str) -> dict[str, float]:
    """Amounts by resource; `memory` may be a size such as `1TiB`.

    Raises:
        BadParameter: one is none.
        InvalidArgumentError: a size is none (INVALID_FIELD).
    """
    return dict(_quota(text, option) for text in given or ())


def _quota(text: str, option: str) -> tuple[str, float]:
    name, _, size = text.partition("=")
    if name == MEMORY:
        return name, float(parse_size(size, option))
    return amount(text, option, "NAME=AMOUNT, as `H100=8` is")


def shown(name: str, amounts: Mapping[str, float]) -> str:
    """An amount of a resource, for people."""
    found = amounts.get(name, 0.0)
    return show_size(found) if name == MEMORY else f"{found:g}"
