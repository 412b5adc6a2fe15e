"""Names of sets and versions as people write them."""

from __future__ import annotations

import re

from tessera import errors

_REFERENCE = re.compile(r"((?:[a-z0-9][-a-z0-9]*/)?[a-z0-9][-a-z0-9]*)(?:@([1-9][0-9]{0,17}))?")
_SET = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


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


def full_set(text: str, tenant: str) -> str:
    """`{tenant}/{set}` of a set that is to be written.

    Raises:
        InvalidArgumentError: BAD_SET.
    """
    if _SET.fullmatch(text) is None:
        raise errors.InvalidArgumentError(
            f"`{text}` cannot be the name of a set: up to 63 of a-z, 0-9 and hyphens, and no hyphen"
            " at either end",
            reason="BAD_SET",
        )
    return full_name(text, tenant)


def full_name(name: str, tenant: str) -> str:
    """`{tenant}/{set}` of a set's name with or without its tenant."""
    return name if "/" in name else f"{tenant}/{name}"
