"""Names of sets and versions as people write them."""

from __future__ import annotations

import re

from tessera import errors

_REFERENCE = re.compile(r"((?:[a-z0-9][-a-z0-9]*/)?[a-z0-9][-a-z0-9]*)(?:@([1-9][0-9]{0,17}))?")


def parse_version(text: str, tenant: str) -> tuple[str, int]:
    """Full name of the set and version (0: the newest) of `set@version` or `set`.

    Raises:
        InvalidArgumentError: BAD_VERSION.
    """
    found = _REFERENCE.fullmatch(text)
    if found is None:
        raise errors.InvalidArgumentError(
            f"`{text}` names no version; write SET@VERSION (a whole number from 1) or SET",
            reason="BAD_VERSION",
        )
    return full_name(found[1], tenant), int(found[2] or 0)


def full_name(name: str, tenant: str) -> str:
    """`{tenant}/{set}` of a set's name with or without its tenant."""
    return name if "/" in name else f"{tenant}/{name}"
