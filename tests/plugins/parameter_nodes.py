"""The nodes of a parameter service in processes of their own, to be killed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

NAMES = ("coordinator", "shard-0", "shard-1")
SCRIPT = Path(__file__).parents[1] / "parameters" / "node_process.py"


class Nodes:
    """A coordinator and shards in processes of their own.

    Args:
        platform: with the controller.
        folder: of all their folders.
        names: of them.
        replicas: shards that have each piece.
    """

    def __init__(self, platform, folder: Path, names=NAMES, replicas: int = 1) -> None:
        self._platform = platform
        self._folder = folder
        self._names = names
        self._settings = [f"--shards={len(names) - 1}", f"--replicas={replicas}"]
        self._processes = {}
        for name in names:
            self.start(name)

    def wait(self) -> None:
        """Until all are registered."""
        for name in self._processes:
            self.wait_for(name)

    def wait_for(self, name: str) -> None:
        """Until one is registered."""
        assert self._processes[name].stdout.readline() == "ready\n"

    def signal(self, name: str, number: int) -> None:
        self._processes[name].send_signal(number)

    def start(self, name: str) -> None:
        command = [sys.executable, SCRIPT, name, self._platform.address, self._folder / name]
        with (self._folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                [*command, *self._settings],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        number = self._names.index(name)
        process.stdin.write(self._platform.node_tokens()[number] + "\n")
        process.stdin.flush()
        self._processes[name] = process

    def kill(self, name: str) -> None:
        process = self._processes[name]
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()

    def bounce(self, name: str) -> None:
        """SIGKILL and start again, without waiting: callers must bear with it."""
        self.kill(name)
        self.start(name)

    def stop(self) -> None:
        for name in self._processes:
            self.kill(name)
