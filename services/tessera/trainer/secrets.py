"""Secrets that a job names and its pool keeps: read where a rank runs, put into its environment.

    TESSERA_SECRET_<TENANT>__<NAME>     a variable of the workers (`env`); - of a tenant is _
    $TESSERA_SECRETS_DIR/TENANT/FILE    a file on the workers (`file`)
    $TESSERA_SECRETS_DIR/TENANT/NAME/KEY  a key of a Secret that is mounted (`kubernetes`)

A tenant reaches nothing but its own: names of variables have no double underscore, and what a path
leads to, links included, has to lie in the tenant's folder.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from tessera import errors
from tessera.environment import SECRET_PREFIX, SECRETS_DIR
from tessera.paths import below
from tessera.trainer.failure import UserError
from tessera.trainer.mask import MIN_CHARS, Mask

DEFAULT_DIR = Path("/etc/tessera/secrets")
"""Where files of secrets lie, unless the environment says otherwise."""

MAX_BYTES = 64 << 10
"""Of one secret; the system takes variables of twice that."""

_TENANT = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretSource:
    """Where the pool keeps one secret: `env` and a name, or `file` and a path of names."""

    kind: str
    name: str

    def read(self, variable: str, tenant: str, environ: Mapping[str, str]) -> str:
        """The value that `variable` gets.

        Raises:
            UserError: SECRET_NOT_FOUND, SECRET_UNUSABLE.
        """
        if not _TENANT.fullmatch(tenant):
            self._missing(variable, tenant)
        if self.kind == "env":
            value = environ.get(f"{SECRET_PREFIX}{tenant.upper().replace('-', '_')}__{self.name}")
        else:
            value = self._content(variable, tenant, Path(environ.get(SECRETS_DIR) or DEFAULT_DIR))
        if value is None:
            self._missing(variable, tenant)
        if len(value) < MIN_CHARS or "\0" in value or len(_encoded(value)) > MAX_BYTES:
            self._unusable(variable, tenant)
        return value

    def _content(self, variable: str, tenant: str, root: Path) -> str | None:
        """Without the line end that editors put behind it; None: there is no such file."""
        try:
            folder = below(root, tenant).resolve(strict=True)
            path = below(folder, *self.name.split("/")).resolve(strict=True)
            if not path.is_relative_to(folder) or not path.is_file():
                return None
            with path.open("rb") as file:
                content = file.read(MAX_BYTES + 1)
        except (OSError, RuntimeError, errors.InvalidArgumentError):  # A ring of links; no names.
            return None
        try:
            return content.decode().removesuffix("\n").removesuffix("\r")
        except UnicodeDecodeError:
            self._unusable(variable, tenant)

    def _missing(self, variable: str, tenant: str) -> NoReturn:
        raise UserError.at(
            f"secrets[{variable}]",
            f"the pool has no {self.kind} `{self.name}` for the tenant `{tenant}`; ask its "
            "operator to put it there",
            "SECRET_NOT_FOUND",
        )

    def _unusable(self, variable: str, tenant: str) -> NoReturn:
        raise UserError.at(
            f"secrets[{variable}]",
            f"the {self.kind} `{self.name}` of the tenant `{tenant}` is no text of {MIN_CHARS} "
            f"characters to {MAX_BYTES >> 10} KiB; ask the pool's operator to mend it",
            "SECRET_UNUSABLE",
        )


def install(
    sources: Mapping[str, SecretSource],
    tenant: str,
    environ: MutableMapping[str, str],
    mask: Mask,
) -> None:
    """Set the variables that a job names, and hide their values.

    Whatever else the pool keeps in the environment is taken out of it, before any code of a user's
    runs: it is for other jobs.

    Raises:
        UserError: SECRET_NOT_FOUND, SECRET_UNUSABLE; the message has names, never a value.
    """
    values = {name: source.read(name, tenant, environ) for name, source in sources.items()}
    mask.learn(values.values())
    for name in [name for name in environ if name.startswith(SECRET_PREFIX)]:
        del environ[name]
    environ.update(values)


def _encoded(value: str) -> bytes:
    return value.encode("utf-8", "surrogateescape")
