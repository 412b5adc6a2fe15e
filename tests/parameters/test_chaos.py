"""Processes of a parameter service die by hundreds: `make chaos-parameters`.

A writer commits, two readers read all of the newest version, a coordinator and three shards serve
them: each a process. One after another is killed at a random moment, stands still for seconds, or
is cut off from the network, where there is one that may be cut; the coordinator sometimes comes
back without its folder; one shard's disk is slow, and the disk of all is full for moments, where a
small one can be mounted.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from in_process import InProcessPlatform
from parameter_nodes import SCRIPT as NODE
from wires import OWN_NETWORK, Wires

from tessera.weights.coordinator import Coordinator

from .chaos_process import content

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(1500)]

KILLS = int(os.environ.get("KILLS", "300"))
SEED = int(os.environ.get("SEED", "1"))
COPIES = int(os.environ.get("COPIES", "2"))
SET = "default/chaos"
SCRIPT = Path(__file__).with_name("chaos_process.py")
NODES = ("coordinator", "shard-0", "shard-1", "shard-2")
DISK = 256 << 20
FAIL_OVER_SECONDS = 2.0


class Processes:
    """All of them, each with a file of what it said.

    Nodes that are on wires are hosts of their own: none of theirs hands files to readers.
    """

    def __init__(self, platform, folder: Path, data: Path, wires: Wires | None) -> None:
        self._platform = platform
        self._wires = wires
        self._folder = folder
        self._data = data
        self._running = {}
        self._attempt = 0

    def start(self, name: str) -> None:
        kind = name.partition("-")[0]
        address = self._platform.address
        behind = self._wires.command(name) if self._wires and name in NODES else []
        if name in NODES:
            token = self._platform.node_tokens()[NODES.index(name)]
            command = [NODE, name, address, self._data / name, *self._settings(name)]
        elif kind == "writer":
            self._attempt += 1
            token = self._platform.attempt_token("chaos", self._attempt, writes=SET)
            command = [SCRIPT, "write", address, SET, str(self._attempt)]
        else:
            token = self._platform.token
            command = [SCRIPT, "read", address, SET]
        with (
            (self._folder / f"{name}.out").open("ab") as out,
            (self._folder / f"{name}.log").open("ab") as log,
        ):
            process = subprocess.Popen(
                [*behind, sys.executable, *map(str, command)],
                stdin=subprocess.PIPE, stdout=out, stderr=log,
            )  # fmt: skip
        process.stdin.write(f"{token}\n".encode())
        process.stdin.flush()
        self._running[name] = process

    def _settings(self, name: str) -> Iterator[str]:
        yield from ("--shards", f"{len(NODES) - 1}", "--replicas", f"{COPIES}")
        if name == "shard-1":
            yield from ("--slow", "0.02")
        if self._wires is not None:
            yield from ("--host", self._wires.address(name), "--far")

    def kill(self, name: str) -> None:
        process = self._running.pop(name)
        process.kill()
        process.wait()
        process.stdin.close()

    def pause(self, name: str, seconds: float) -> None:
        """It answers nobody, though the kernel does for it."""
        process = self._running[name]
        process.send_signal(signal.SIGSTOP)
        time.sleep(seconds)
        process.send_signal(signal.SIGCONT)

    @contextlib.contextmanager
    def cut_off(self, name: str) -> Iterator[None]:
        """Its cable is pulled."""
        self._wires.cut(name)
        try:
            yield
        finally:
            self._wires.mend(name)

    def may_be_cut_off(self, name: str) -> bool:
        return self._wires is not None and name in NODES

    def dead(self) -> list[str]:
        """Who ended without being killed, and the last that each has logged."""
        return [
            f"{name}: {(self._folder / f'{name}.log').read_text()[-3000:]}"
            for name, process in self._running.items()
            if process.poll() is not None
        ]

    def stop(self) -> None:
        for name in list(self._running):
            self.kill(name)

    def said(self, name: str) -> list[list[str]]:
        path = self._folder / f"{name}.out"
        # The last line of a process that was killed may lack its end.
        return [line.split() for line in path.read_text().splitlines() if line.strip()]

    def lose(self, name: str) -> None:
        shutil.rmtree(self._data / name)


@pytest.fixture
def data(tmp_path):
    """Where nodes keep what they have: on a small disk, if one may be mounted."""
    folder = tmp_path / "data"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "none", folder]
    mounted = not subprocess.run(command, capture_output=True, check=False).returncode
    yield folder, mounted
    if mounted:
        subprocess.run(["umount", "-l", folder], check=True)


@pytest.fixture(scope="module")
def wires():
    if not OWN_NETWORK:
        yield None
        return
    wires = Wires()
    for name in NODES:
        wires.lay(name)
    yield wires
    wires.close()


@pytest.fixture(scope="module")
def platform(wires, tmp_path_factory):
    host = wires.host if wires else "127.0.0.1"
    with InProcessPlatform(tmp_path_factory.mktemp("home"), host=host) as running:
        yield running


@pytest.fixture
def processes(platform, tmp_path, data, wires):
    processes = Processes(platform, tmp_path, data[0], wires)
    try:
        for name in (*NODES, "writer"):
            processes.start(name)
        end = time.monotonic() + 60
        while not processes.said("writer"):
            assert time.monotonic() < end
            time.sleep(0.1)
        for name in ("reader-1", "reader-2"):
            processes.start(name)
        yield processes
    finally:
        processes.stop()


def strike(processes, dice, ballast) -> str:
    """One blow; returns what it was."""
    victim = dice.choices((*NODES, "writer", "reader-1", "reader-2"), (3, 2, 2, 2, 3, 1, 1))[0]
    chance = dice.random()
    if chance < 0.06:
        processes.pause(victim, dice.uniform(0.5, 4.0))
        return f"pause {victim}"
    if chance < 0.12 and ballast is not None:
        with contextlib.suppress(OSError), ballast.open("wb") as file:
            while True:
                file.write(bytes(1 << 20))
        time.sleep(dice.uniform(0.5, 3.0))
        ballast.unlink()
        return "full disk"
    if chance < 0.2 and processes.may_be_cut_off(victim):
        with processes.cut_off(victim):
            time.sleep(dice.uniform(0.5, 6.0))
        return f"cut off {victim}"
    processes.kill(victim)
    lost = victim == "coordinator" and dice.random() < 0.15
    if lost:
        processes.lose(victim)
    processes.start(victim)
    return f"kill {victim}{' and lose its folder' if lost else ''}"


def test_nothing_that_was_committed_is_lost(processes, platform, data):
    dice, blows = random.Random(SEED), Counter()
    ballast = data[0] / "ballast" if data[1] else None
    begin = time.monotonic()
    while sum(n for what, n in blows.items() if what.startswith("kill")) < KILLS:
        time.sleep(dice.uniform(0.2, 3.0))
        blows[strike(processes, dice, ballast)] += 1
        assert processes.dead() == [], blows
    seconds = time.monotonic() - begin
    calm(processes)
    committed = [(int(number), int(step)) for number, step in processes.said("writer")]
    processes.kill("writer")
    numbers = [number for number, _ in committed]
    assert numbers == sorted(set(numbers)), "numbers never go back"
    for reader in ("reader-1", "reader-2"):
        assert [line for line in processes.said(reader) if line[0] == "FAIL"] == []
    client = Coordinator(platform.address, platform.token, patience=60)
    held = {version.number: version.step for version in client.list_versions(SET)}
    assert {number for number, _ in committed[-5:]} <= held.keys()
    assert max(held) >= numbers[-1]
    steps = dict(committed)
    for number, step in held.items():
        assert steps.get(number, step) == step
        assert list(client.verify_version(SET, number))[-1].damage == ()
        check(client, platform.token, number, step)
    client.close()
    told = ", ".join(f"{what} {count}" for what, count in sorted(blows.items()))
    reads = sum(len(processes.said(f"reader-{n}")) for n in (1, 2))
    amount = f"{len(committed)} commits, {reads} whole reads"
    sys.stderr.write(f"\nseed {SEED}, copies {COPIES}, {seconds:.0f} s: {told}; {amount}\n")


def calm(processes) -> None:
    """Until commits and reads go on."""
    before = {name: len(processes.said(name)) for name in ("writer", "reader-1", "reader-2")}
    end = time.monotonic() + 90
    while any(len(processes.said(name)) < count + 3 for name, count in before.items()):
        assert time.monotonic() < end, before
        assert processes.dead() == []
        time.sleep(0.2)


def check(client, token, number, step) -> None:
    from versions import read  # noqa: PLC0415 - a plugin of the tests

    manifest, found = read(client, token, SET.partition("/")[2], version=number)
    for tensor in manifest.tensors:
        assert found[tensor.name].tobytes() == content(tensor, step).tobytes()


@pytest.mark.skipif(not OWN_NETWORK, reason="no network here may be cut")
@pytest.mark.skipif(COPIES < 2, reason="there is one copy")
@pytest.mark.parametrize("name", NODES[1:])
def test_reads_go_on_while_a_shard_is_cut_off(processes, name):
    calm(processes)
    with processes.cut_off(name):
        for _ in range(3):
            begin, before = time.monotonic(), len(processes.said("reader-1"))
            while len(processes.said("reader-1")) == before:
                assert time.monotonic() - begin < FAIL_OVER_SECONDS
                time.sleep(0.02)
    calm(processes)
    assert [line for line in processes.said("reader-1") if line[0] == "FAIL"] == []
