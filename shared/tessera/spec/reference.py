"""Names of sets and versions as people write them: `set`, `set@version`. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tessera import errors

_LABEL = r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?"
_SET = re.compile(_LABEL)
_REFERENCE = re.compile(rf"(?:({_LABEL})/)?({_LABEL})(?:@([1-9][0-9]{{0,17}}))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """What a reference names.

    Args:
        set: the set's name without its tenant.
        version: of the set; 0: the newest one.
        tenant: that was written before the set; empty: none was.
    """

    set: str
    version: int = 0
    tenant: str = ""

    def full_name(self, tenant: str) -> str:
        """`{tenant}/{set}`; the tenant that was written wins over the reader's own."""
        return f"{self.tenant or tenant}/{self.set}"

    def set_of(self, tenant: str, field: str) -> str:
        """The set's name, which must be the tenant's own.

        Raises:
            InvalidArgumentError: it is another tenant's (INVALID_REFERENCE).
        """
        if self.tenant not in {"", tenant}:
            raise errors.InvalidArgumentError.at(
                field,
                f"`{self}` is a set of tenant `{self.tenant}`, and this is tenant `{tenant}`;"
                " name a set of your own, or import a copy",
                "INVALID_REFERENCE",
            )
        return self.set

    def __str__(self) -> str:
        owner = f"{self.tenant}/" if self.tenant else ""
        return f"{owner}{self.set}" + (f"@{self.version}" if self.version else "")


def parse_reference(text: str, field: str = "model") -> Reference:
    """What `set`, `set@version`, `tenant/set` or `tenant/set@version` names.

    Args:
        text: as it was written.
        field: path of the field that holds it, for the error.

    Raises:
        InvalidArgumentError: it is none of these (INVALID_REFERENCE).
    """
    if problem := reference_problem(text):
        raise errors.InvalidArgumentError.at(field, problem, "INVALID_REFERENCE")
    tenant, name, version = _REFERENCE.fullmatch(text).groups()  # type: ignore[union-attr]
    return Reference(set=name, version=int(version or 0), tenant=tenant or "")


def reference_problem(text: str) -> str:
    """What is wrong with a reference; empty: nothing."""
    if _REFERENCE.fullmatch(text):
        return ""
    return f"`{text}` names no version; write SET@VERSION (a whole number from 1) or SET"


def parse_set(text: str) -> str:
    """The name of a set that is to be written, which has neither tenant nor version.

    Raises:
        InvalidArgumentError: INVALID_REFERENCE.
    """
    if _SET.fullmatch(text) is None:
        raise errors.InvalidArgumentError.at(
            "set",
            f"`{text}` cannot be the name of a set: up to 63 of a-z, 0-9 and hyphens, and no hyphen"
            " at either end",
            "INVALID_REFERENCE",
        )
    return text
