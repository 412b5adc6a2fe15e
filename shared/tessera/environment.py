"""The environment of every process that the platform starts, and the folder that it works in.

What a person's shell says about proxies, encodings and modules is meant for their own programs. Of
a platform it would break the parts that only talk to one another: so the names below are always
set, and what else could reach an import or a stream is taken out. Everything else is handed on:
the proxies too, for the hub and data sets are reached through them.
"""

from __future__ import annotations

import os
import sysconfig
from collections.abc import Mapping

SAFE_PATH = "PYTHONSAFEPATH"
"""Python looks for no module in the working directory, nor in the folder of a script."""

FIXED: Mapping[str, str] = {
    SAFE_PATH: "1",
    # Text is UTF-8, and what cannot be written is written as an escape, whatever the locale.
    "PYTHONUTF8": "1",
    "PYTHONIOENCODING": "utf-8:backslashreplace",
    "LC_ALL": "C.UTF-8",
    "PYTHONUNBUFFERED": "1",
    # gRPC of Ray's own: calls inside a cluster never go through a proxy.
    "RAY_grpc_enable_http_proxy": "0",
    # Ray Train would print a second time what is printed on a stream that we ship.
    "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",
}
"""Of every process; a Ray job gets them on whatever its cluster has."""

SECRETS_DIR = "TESSERA_SECRETS_DIR"
"""Names the folder on a pool's workers that has a folder of secrets for each tenant."""

SECRET_PREFIX = "TESSERA_SECRET_"  # noqa: S105 - the beginning of a name
"""How variables of a pool's workers begin that are secrets of a tenant."""

LOOPBACK = ("localhost", "127.0.0.1", "::1")
"""Hosts that are never reached through a proxy."""

_PATH = "PYTHONPATH"
_DROPPED = {
    # Another cluster's.
    "RAY_ADDRESS",
    # Of an interpreter that a person sits in front of, or is debugging.
    "PYTHONINSPECT",
    "PYTHONOPTIMIZE",
    "PYTHONSTARTUP",
    "PYTHONWARNINGS",
}
_NO_PROXY = ("no_proxy", "no_grpc_proxy")


def hermetic(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment of a process of the platform, from that of whoever starts it.

    Entries of PYTHONPATH stay where they are absolute: who sets it means every interpreter. Empty
    and relative ones would mean the working directory.
    """
    made = {name: value for name, value in environ.items() if name not in _DROPPED}
    for name in _NO_PROXY:
        # Which of the two spellings counts depends on the library: both say the same.
        spellings = [environ[n] for n in (name, name.upper()) if n in environ]
        if spellings or name == "no_proxy":
            made[name] = made[name.upper()] = _exceptions(",".join(spellings))
    if path := _absolute(made.pop(_PATH, "")):
        made[_PATH] = path
    return {**made, **FIXED}


def keep_private() -> None:
    """What this process and those that it starts write is for their owner alone (umask 077).

    A cluster of somebody else's may have been started with any other.
    """
    os.umask(0o077)


def leave_working_directory() -> None:
    """Go where nothing but Python's own modules can be imported from.

    Ray puts the working directory of a driver in front of the path of all its workers.
    """
    os.chdir(sysconfig.get_path("stdlib"))


def _exceptions(hosts: str) -> str:
    """Hosts that need no proxy, and those of this machine."""
    named = [host.strip() for host in hosts.split(",") if host.strip()]
    return "*" if "*" in named else ",".join(dict.fromkeys([*named, *LOOPBACK]))


def _absolute(path: str) -> str:
    return ":".join(entry for entry in path.split(":") if entry.startswith("/"))
