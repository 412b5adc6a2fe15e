"""What the demo and the examples are told with: `tessera` commands, each shown before it runs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer

from tessera.client import Client
from tessera.local.guard import Guard

HERE = Path(__file__).parent
TESSERA = Path(sys.executable).with_name("tessera")
HOME = os.environ.get("TESSERA_HOME", str(Path.cwd() / ".demo"))
ENDED = ("SUCCEEDED", "FAILED", "CANCELLED")
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interruption(Exception):  # noqa: N818 - not an error
    """Ctrl-C, or a signal to end."""


class Story:
    """Runs commands, one after the other, and hands signals on to the one that runs."""

    def __init__(self) -> None:
        self.child: subprocess.Popen[str] | None = None
        self.asking = False
        self.interrupted = 0
        # Ends what was started, should this process be killed.
        self.guard = Guard.start()
        for number in SIGNALS:
            signal.signal(number, lambda number, _: self.interrupt(number))

    def interrupt(self, number: int) -> None:
        """Note it, and tell the running command."""
        self.interrupted = self.interrupted or number
        if self.child is not None:
            self.child.send_signal(signal.SIGINT)
        if self.asking:
            raise Interruption

    def tessera(self, *arguments: str, capture: bool = False) -> str:
        """Run a `tessera` command; returns what it printed, if asked to."""
        command = [str(TESSERA), "--home", HOME, *arguments]
        if not capture:
            words = [f'"{a}"'.replace("\n", "\\n") if " " in a else a for a in arguments]
            typer.secho(f"\n$ tessera {' '.join(words)}", bold=True)
        if self.interrupted:
            raise Interruption
        # A process group of its own: a terminal's Ctrl-C reaches it once, through `interrupt`.
        self.child = subprocess.Popen(  # noqa: S603 - a command of ours
            command,
            stdout=subprocess.PIPE if capture else None,
            stdin=subprocess.DEVNULL,
            text=True,
            process_group=0,
        )
        if self.interrupted:  # It came while the command was being started.
            self.child.send_signal(signal.SIGINT)
        out, _ = self.child.communicate()
        code, self.child = self.child.returncode, None
        if self.interrupted:
            raise Interruption
        if code:
            raise subprocess.CalledProcessError(code, " ".join(["tessera", *arguments]))
        return out or ""

    def read(self, *arguments: str) -> Any:
        """What a command says, for machines; it is not shown."""
        return json.loads(self.tessera("--output", "json", *arguments, capture=True))

    def train(self, spec: str) -> None:
        """Submit a job and watch it; or the one that an interruption left unfinished.

        Args:
            spec: name of the job, and of its file.
        """
        newest = self.newest(spec)
        if newest and not newest["state"].endswith(ENDED):
            print("\nAn earlier run was interrupted; it goes on from its last version.")
            self.tessera("watch", newest["id"])
        else:
            self.tessera("submit", str(HERE / f"{spec}.yaml"), "--watch")

    def newest(self, name: str) -> dict[str, Any] | None:
        """The newest job of this name."""
        return next((job for job in self.read("jobs") if job["spec"]["name"] == name), None)

    @contextmanager
    def client(self) -> Iterator[Client]:
        """The platform, for questions that are too many to show; a signal ends them at once."""
        if self.interrupted:
            raise Interruption
        self.asking = True
        try:
            with Client(home=HOME) as client:
                yield client
        finally:
            self.asking = False

    def down(self) -> None:
        """End the platform; nothing interrupts that."""
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        print("\nInterrupted: ending the platform …", flush=True)
        command = [str(TESSERA), "--home", HOME, "down"]
        subprocess.run(command, check=False, start_new_session=True)  # noqa: S603 - ours too


def play(story: Story, tell: Callable[[], int], interrupted: Callable[[], None]) -> int:
    """Tell a story; returns the exit code.

    Args:
        story: that runs the commands.
        tell: all of it; returns the exit code.
        interrupted: what to do after Ctrl-C.
    """
    try:
        return tell()
    except Interruption:
        interrupted()
        return 128 + story.interrupted
    except subprocess.CalledProcessError as error:
        print(
            f"\nThe step `{error.cmd}` ended with code {error.returncode}; its message is above.\n"
            f"Logs are in {HOME}/logs; `tessera --home {HOME} status` tells what runs, and\n"
            f"`tessera --home {HOME} down` ends it.",
            file=sys.stderr,
        )
        return 1
    finally:
        story.guard.release()
