"""What the global options say."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from pathlib import Path


class Output(enum.StrEnum):
    """How results are printed."""

    TEXT = "text"
    JSON = "json"


@dataclass(frozen=True, slots=True, kw_only=True)
class GlobalOptions:
    """Global options; commands find them in `context.obj`.

    Empty `address`, `token` and `ca` are those of the platform in `home`. A token of an OIDC issuer
    is in a file, printed by a command, or `oidc_token` itself; the first that is named is taken.
    """

    home: Path
    address: str = ""
    token: str = ""
    ca: str = ""
    output: Output = Output.TEXT
    oidc_token_file: Path | None = None
    oidc_token_command: str = ""
    oidc_token: str = ""

    @property
    def json(self) -> bool:
        """Whether results are for machines."""
        return self.output is Output.JSON
