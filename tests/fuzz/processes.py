"""The processes of a run: platforms under test and their callers, each with what it told."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import psutil

READY_SECONDS = 120.0
TAIL = 4000
CRASH = "Current thread 0x"
"""With what Python says where it was when it crashed; the other threads wait, mostly."""
WIRE_FIRST = 1 << 32
"""Number of the first case that goes over sockets: no case is sent both ways."""


class Child:
    """A process that tells JSON lines.

    Args:
        name: for people.
        module: that it runs.
        arguments: of it.
        log: file of what it writes to stderr.
        calls: whether it ends by itself once it has called enough.
        served: whether it is a platform, whose memory matters.
    """

    def __init__(
        self, name: str, module: str, *arguments: object, log: Path, calls: bool, served: bool
    ) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        self.name, self.calls, self.served = name, calls, served
        self._log = log
        self.ready: dict[str, Any] = {}
        self.tally: dict[str, Any] = {}
        self.failures: list[dict[str, Any]] = []
        self.logged: list[str] = []
        self.defects: list[str] = []
        self.rss: list[float] = []
        self.trouble = ""
        self.ended = False
        with log.open("wb") as stderr:
            self._process = subprocess.Popen(
                [sys.executable, "-m", module, *map(str, arguments)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                env=os.environ | {"PYTHONFAULTHANDLER": "1"},
            )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    @property
    def done(self) -> int:
        return self.tally.get("done", 0)

    def wait_ready(self) -> dict[str, str]:
        """Addresses of a platform, once it is there."""
        end = time.monotonic() + READY_SECONDS
        while not self.ready and self.running and time.monotonic() < end:
            time.sleep(0.1)
        if not self.ready:
            self.give_up("it did not start")
            sys.stderr.write(self.stderr())
            raise RuntimeError(f"{self.name} did not start")
        return self.ready["addresses"]

    def sample(self) -> None:
        """Note how much memory it has, from when it is ready."""
        if self.running and (self.ready or not self.served):
            self.rss.append(psutil.Process(self._process.pid).memory_info().rss / 2**20)

    def wait(self, seconds: float) -> None:
        """Until it has ended by itself."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.give_up("it did not end in time")
        self.close()

    def give_up(self, why: str) -> None:
        if self.running and not self.trouble:
            self.trouble = why
            self._process.kill()

    def close(self) -> None:
        """Wait for the end of one that waits for callers, too."""
        if self.running:
            self._process.stdin.close()
        try:
            self._process.wait(60)
        except subprocess.TimeoutExpired:
            self.trouble = self.trouble or "it does not stop"
            self._process.kill()
            self._process.wait()
        self._reader.join()
        code = self._process.returncode
        if code and not self.trouble:
            self.trouble = f"it ended with exit code {code}"
        if code:
            self._at_once(f"{self.trouble}, having written\n{self.stderr()}")

    def stderr(self) -> str:
        """The end of what it wrote there; of a crash, what the thread did that it happened in."""
        text = self._log.read_text(errors="replace") if self._log.exists() else ""
        crash = text.rfind(CRASH)
        return text[crash : crash + TAIL] if crash >= 0 else text[-TAIL:]

    def _read(self) -> None:
        for line in self._process.stdout:
            if not line.startswith("{"):
                continue
            told = json.loads(line)
            match told.pop("kind"):
                case "ready":
                    self.ready = told
                case "failure":
                    self.failures.append(told)
                    case = told["case"]
                    self._at_once(f"{case['method']} {told['code']}, number {case['number']}")
                case "tally":
                    for text in (logged := told.pop("log")):
                        self._at_once(f"logged {text[-600:]}")
                    self.logged += logged
                    self.defects += told.pop("defects")
                    self.tally = told

    def _at_once(self, what: str) -> None:
        """Nobody waits for the report to hear of a finding."""
        sys.stderr.write(f"\n{self.name}: {what}\n")


def start_within(
    home: Path,
    seed: int,
    messages: int,
    seconds: float,
    *,
    first: int = 0,
    replay: Path | None = None,
) -> Child:
    """A platform that is called from within."""
    again = () if replay is None else ("--replay", replay)
    return Child(
        "within", "fuzz.worker", home, "--seed", seed, "--first", first, "--messages", messages,
        "--seconds", seconds, *again, log=home.with_suffix(".log"), calls=True, served=True,
    )  # fmt: skip


def start_wire(home: Path, seed: int, messages: int, seconds: float) -> list[Child]:
    """A platform that waits for callers, and its callers."""
    platform = Child(
        "served", "fuzz.worker", home, log=home.with_suffix(".log"), calls=False, served=True
    )
    addresses = json.dumps(platform.wait_ready())
    callers = Child(
        "wire", "fuzz.wire", addresses, home, "--seed", seed, "--first", WIRE_FIRST,
        "--messages", messages, "--seconds", seconds, log=home.with_suffix(".callers.log"),
        calls=True, served=False,
    )  # fmt: skip
    return [platform, callers]
