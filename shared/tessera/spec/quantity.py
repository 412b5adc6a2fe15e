"""Amounts of memory as Kubernetes writes them: `512Mi`, `16Gi`, `1.5G`, or bytes. Pure."""

from __future__ import annotations

import re
from decimal import ROUND_CEILING, Decimal

from tessera import errors

_QUANTITY = re.compile(r"([0-9]+(?:\.[0-9]+)?)(k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?")
_UNITS = {"": 1} | {
    prefix + suffix: base**power
    for base, suffix, prefixes in ((1000, "", "kMGTP"), (1024, "i", "KMGTP"))
    for power, prefix in enumerate(prefixes, start=1)
}


def quantity(text: str, field: str = "memory") -> int:
    """Bytes, rounded up; 0 for an empty text.

    Raises:
        InvalidArgumentError: it is no quantity (BAD_QUANTITY), with the field.
    """
    if not text:
        return 0
    found = _QUANTITY.fullmatch(text)
    if found is None:
        raise errors.InvalidArgumentError.at(
            field,
            f"'{text}' is no amount of memory; write for example 512Mi or 16Gi",
            "BAD_QUANTITY",
        )
    exact = Decimal(found[1]) * _UNITS[found[2] or ""]
    return int(exact.to_integral_value(rounding=ROUND_CEILING))
