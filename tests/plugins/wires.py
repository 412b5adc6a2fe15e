"""Processes in networks of their own, on wires that can be cut.

Only where this process has a network of its own already, in which it may do as it likes:
`make chaos-parameters` asks for one (`unshare --map-root-user --net --mount`) and says so by
OWN_NETWORK.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

OWN_NETWORK = bool(os.environ.get("OWN_NETWORK"))
"""Whether wires can be had here."""

_BRIDGE = "wires"
_NET = "10.77.0"


class Wires:
    """A bridge, and a wire from it to each process that is started behind one."""

    host = f"{_NET}.1"
    """Where this process is reached from behind a wire."""

    def __init__(self) -> None:
        self._holders: dict[str, subprocess.Popen] = {}
        _ip("link", "set", "lo", "up")
        _ip("link", "add", _BRIDGE, "type", "bridge")
        _ip("addr", "add", f"{self.host}/24", "dev", _BRIDGE)
        _ip("link", "set", _BRIDGE, "up")

    def lay(self, name: str) -> None:
        """A network for a name, on a wire."""
        number = len(self._holders) + 2
        holder = subprocess.Popen(["unshare", "--net", "cat"], stdin=subprocess.PIPE)
        self._holders[name] = holder
        # It has its network when it is no more in this one.
        while _network(holder.pid) == _network(os.getpid()):
            assert holder.poll() is None
        near, far = _ends(name)
        _ip("link", "add", near, "type", "veth", "peer", "name", far)
        _ip("link", "set", far, "netns", str(holder.pid))
        _ip("link", "set", near, "master", _BRIDGE, "up")
        inside = self.command(name)
        _ip("addr", "add", f"{_NET}.{number}/24", "dev", far, inside=inside)
        for link in ("lo", far):
            _ip("link", "set", link, "up", inside=inside)

    def command(self, name: str) -> list[str]:
        """What precedes a command that shall run behind the wire of a name."""
        return ["nsenter", f"--net=/proc/{self._holders[name].pid}/ns/net"]

    def address(self, name: str) -> str:
        """Where what runs behind the wire of a name is reached."""
        return f"{_NET}.{list(self._holders).index(name) + 2}"

    def cut(self, name: str) -> None:
        """Nothing comes through until it is mended; nobody is told."""
        _ip("link", "set", _ends(name)[0], "down")

    def mend(self, name: str) -> None:
        _ip("link", "set", _ends(name)[0], "up")

    def close(self) -> None:
        for name, holder in self._holders.items():
            _ip("link", "delete", _ends(name)[0])
            holder.stdin.close()
            holder.wait()
        _ip("link", "delete", _BRIDGE)


def _ends(name: str) -> tuple[str, str]:
    """Of a wire; names of links have at most 15 characters."""
    return f"n-{name}"[:15], f"f-{name}"[:15]


def _network(pid: int) -> Path:
    return Path(f"/proc/{pid}/ns/net").readlink()


def _ip(*command: str, inside: list[str] | None = None) -> None:
    subprocess.run([*(inside or []), "ip", *command], check=True)
