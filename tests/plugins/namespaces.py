"""Commands on a machine that this one is not: with another network, and other file systems."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from functools import cache

import pytest

LO_UP = "ip link set lo up"
NO_IPV4 = f"{LO_UP}; ip address del 127.0.0.1/8 dev lo"
# A pair of interfaces that are each other's wire: every kernel with namespaces has these.
IPV6_OUTSIDE = (
    "ip link add one type veth peer name two; ip link set one up; ip link set two up; "
    "ip address add fd00::2/64 dev one nodad"
)


def hosts(*lines: str) -> str:
    """A script that makes these lines the machine's /etc/hosts."""
    mount = "mount -t tmpfs none /mnt; cp /dev/stdin /mnt/hosts; mount --bind /mnt/hosts /etc/hosts"
    text = "\\n".join(lines)
    return f"printf '{text}\\n' | {{ {mount}; }}"


def within(*scripts: str, command: Sequence[str]) -> list[str]:
    """A command in namespaces of its own, after shell scripts that arrange them.

    Skips the test where the machine lends none.
    """
    if reason := _unavailable():
        pytest.skip(f"no namespaces: {reason}")
    script = "\n".join([*scripts, 'exec "$@"'])
    return [*_UNSHARE, "sh", "-ec", script, "sh", *command]


_UNSHARE = ("unshare", "--map-root-user", "--net", "--mount")


@cache
def _unavailable() -> str:
    if missing := [name for name in ("unshare", "ip", "mount") if shutil.which(name) is None]:
        return f"{missing[0]} is not installed"
    script = f"{NO_IPV4}; {IPV6_OUTSIDE}; mount -t tmpfs none /mnt"
    done = subprocess.run(
        [*_UNSHARE, "sh", "-ec", script], check=False, capture_output=True, text=True
    )
    return "" if done.returncode == 0 else done.stderr.strip()
