"""Sizes as people write them."""

from __future__ import annotations

import re

from tessera import errors

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_UNITS |= {f"{unit}I": 1024**power for power, unit in enumerate("KMGT", start=1)}
_PATTERN = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?I?)B?")


def parse_size(text: str, option: str) -> int:
    """Bytes of `20GB`, `1.5 TiB` or `1000`.

    Raises:
        InvalidArgumentError: it is no size; the message names `option`.
    """
    match = _PATTERN.fullmatch(text.strip().upper())
    if match is None or match[2] not in _UNITS:
        raise errors.InvalidArgumentError(
            f"{option}: {text!r} is no size; write for example 20GB or 512MiB",
            reason="INVALID_FIELD",
        )
    return int(float(match[1]) * _UNITS[match[2]])


def show_size(size: float) -> str:
    """Bytes as three digits and a unit: `1.25 GB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if abs(size) < 1000:  # noqa: PLR2004 - the step between units
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"
