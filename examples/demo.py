"""The whole path on one machine: train a GPT, keep its weights as versions, serve it, let it write.

It does nothing that you could not type: every step is a `tessera` command, shown before it runs.
Ctrl-C at any moment ends the platform too.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
TESSERA = Path(sys.executable).with_name("tessera")
HOME = os.environ.get("TESSERA_HOME", str(Path.cwd() / ".demo"))
NAME = "gpt-stdlib"
PROMPT = "def read_lines(path):\n    "
ENDED = ("SUCCEEDED", "FAILED", "CANCELLED")


class Interruption(Exception):  # noqa: N818 - not an error
    """Ctrl-C, or a signal to end."""


class Demo:
    """Runs commands, one after the other, and hands signals on to the one that runs."""

    def __init__(self) -> None:
        self.child: subprocess.Popen[str] | None = None
        self.interrupted = 0
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda number, _: self.interrupt(number))

    def interrupt(self, number: int) -> None:
        """Note it, and tell the running command."""
        self.interrupted = self.interrupted or number
        if self.child is not None:
            self.child.send_signal(signal.SIGINT)

    def tessera(self, *arguments: str, capture: bool = False) -> str:
        """Run a `tessera` command; returns what it printed, if asked to."""
        command = [str(TESSERA), "--home", HOME, *arguments]
        if not capture:
            words = [f'"{a}"'.replace("\n", "\\n") if " " in a else a for a in arguments]
            print(f"\n\033[1m$ tessera {' '.join(words)}\033[0m", flush=True)
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

    def run(self) -> None:
        """The whole story."""
        started = time.monotonic()
        self.tessera("up")
        self.train()
        self.compare()
        self.tessera("versions", NAME)
        self.tessera("deploy", NAME, "--model", NAME, "--wait")
        self.tessera("generate", NAME, PROMPT, "--max-tokens", "120", "--temperature", "0.7")
        self.farewell(time.monotonic() - started)

    def train(self) -> None:
        """Submit the job and watch it; or the one that an interruption left unfinished."""
        newest = self.newest()
        if newest and not newest["state"].endswith(ENDED):
            print("\nAn earlier run was interrupted; it goes on from its last version.")
            self.tessera("watch", newest["id"])
        else:
            self.tessera("submit", str(HERE / f"{NAME}.yaml"), "--watch")

    def newest(self) -> dict[str, Any] | None:
        """The newest job of this name."""
        jobs = json.loads(self.tessera("--output", "json", "jobs", capture=True))
        return next((job for job in jobs if job["spec"]["name"] == NAME), None)

    def compare(self) -> None:
        """Say how much better than counting pairs of tokens the model has become."""
        job = self.newest()
        if job is None:
            raise SystemExit("The job is gone: something is wrong.")
        progress = job["progress"]
        model, bigram = progress["held_out_loss"], progress["baseline_loss"]
        print(
            f"\nLoss on files that it has never seen, in nats per token:\n"
            f"  this model          {model:.3f}\n"
            f"  token bigrams       {bigram:.3f}   (add-one smoothed, same tokenizer and split)"
        )
        if model >= bigram:
            raise SystemExit("The model is no better than bigrams: something is wrong.")

    def farewell(self, seconds: float) -> None:
        """What runs now, and what to try next."""
        status = json.loads(self.tessera("--output", "json", "status", capture=True))
        print(
            f"\nDone in {seconds / 60:.1f} minutes. The platform still runs.\n"
            f"  Ray dashboard   {status['dashboard']}\n"
            f"  its token       {HOME}/ray-token\n\n"
            f"Try next, after  export TESSERA_HOME={HOME}\n"
            f'  tessera generate {NAME} "class Stack:"     another prompt\n'
            f"  tessera export {NAME} model/               a folder that transformers loads\n"
            f"  tessera status                             what runs, and where\n"
            f"  tessera down                               end it all\n"
        )

    def down(self) -> None:
        """End the platform; nothing interrupts that."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        print("\nInterrupted: ending the platform …", flush=True)
        command = [str(TESSERA), "--home", HOME, "down"]
        subprocess.run(command, check=False, start_new_session=True)  # noqa: S603 - ours too


def main() -> int:
    """Run the demo; returns the exit code."""
    demo = Demo()
    try:
        demo.run()
    except Interruption:
        demo.down()
        return 128 + demo.interrupted
    except subprocess.CalledProcessError as error:
        print(
            f"\nThe step `{error.cmd}` ended with code {error.returncode}; its message is above.\n"
            f"Logs are in {HOME}/logs; `tessera --home {HOME} status` tells what runs, and\n"
            f"`tessera --home {HOME} down` ends it.",
            file=sys.stderr,
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
