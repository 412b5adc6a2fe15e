"""Where Ray's tokens of pools are kept: a pool names its own, and it goes to that pool alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tessera import errors
from tessera.controller.policy.records import Pool
from tessera.paths import below

PREFIX = "TESSERA_SECRET_"
"""How the variables begin that an operator may name; of others nobody learns anything."""


def of_path(path: Path) -> str:
    """The reference to a file that the controller was started with."""
    return f"path:{path}"


def of_file(name: str) -> str:
    """The reference to a file in the folder of secrets."""
    return f"file:{name}"


def of_variable(name: str) -> str:
    """The reference to a variable of the environment."""
    return f"env:{name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Secrets:
    """Reads secrets by reference.

    Args:
        folder: of files that operators may name.
        variables: of the environment, those that begin with `PREFIX`.
    """

    folder: Path
    variables: Mapping[str, str] = field(default_factory=dict)

    def token(self, pool: Pool) -> str:
        """Ray's token of a pool, read anew: it may have been replaced; empty: it has none.

        Raises:
            UnavailableError: it is not where it should be (POOL_TOKEN_MISSING).
        """
        kind, _, name = pool.token.partition(":")
        try:
            match kind:
                case "path":
                    text = Path(name).read_text()
                case "file":
                    text = below(self.folder, name).read_text()
                case "env" if name.startswith(PREFIX):
                    text = self.variables[name]
                case _:
                    text = ""
        except (OSError, KeyError, UnicodeDecodeError, errors.InvalidArgumentError):
            raise errors.UnavailableError(
                f"pool {pool.name}: there is no token at `{pool.token}` of the controller",
                reason="POOL_TOKEN_MISSING",
            ) from None
        return text.strip()
