"""Whatever happens while a file is written, its place has the old content or the new one."""

from __future__ import annotations

import itertools
import os
import signal
import stat
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tessera.durable_file import LEFT, PRIVATE, DurableFile, make_folders, write_durably

OLD, NEW = b"old", b"new" * 10_000


class Stop(BaseException):
    """The end of the process."""


def steps_of(patch, folder, stop_at=None):
    """The steps that touch the disk, in their order; at one of them everything ends."""
    steps, counted = [], itertools.count()

    def step(name):
        if next(counted) == stop_at:
            raise Stop
        steps.append(name)

    def named(path):
        return "folder" if path == folder else "part" if path.suffix == ".tmp" else "file"

    fsync, rename = os.fsync, Path.rename

    def synced(descriptor):
        step(f"sync {named(Path(f'/proc/self/fd/{descriptor}').readlink())}")
        fsync(descriptor)

    def renamed(path, target):
        step(f"rename {named(path)} {named(target)}")
        return rename(path, target)

    patch.setattr(os, "fsync", synced)
    patch.setattr(Path, "rename", renamed)
    return steps


@pytest.mark.parametrize("ordered", [False, True])
def test_the_order_of_the_steps(ordered, tmp_path, monkeypatch):
    steps = steps_of(monkeypatch, tmp_path)
    write_durably(tmp_path / "file", b"a", b"b", ordered=ordered)
    before = ["sync folder"] if ordered else []
    assert steps == ["sync part", *before, "rename part file", "sync folder"]
    assert (tmp_path / "file").read_bytes() == b"ab"


@given(st.booleans(), st.integers(0, 4), st.booleans())
def test_it_is_the_old_one_or_the_new_one(there, stop_at, ordered):
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        folder = Path(name).resolve()
        path = folder / "file"
        if there:
            path.write_bytes(OLD)
        steps_of(patch, folder, stop_at)
        try:
            write_durably(path, NEW, ordered=ordered)
            ended = True
        except Stop:
            ended = False
        found = path.read_bytes() if path.exists() else None
        assert found in ((NEW,) if ended else (OLD if there else None, NEW))
        assert {each.name for each in folder.iterdir()} <= {"file"}


def test_modes(tmp_path):
    before = os.umask(0o027)
    try:
        write_durably(tmp_path / "usual", b"")
        write_durably(tmp_path / "private", b"", mode=PRIVATE)
        (tmp_path / "open").write_bytes(b"")
        (tmp_path / "open").chmod(0o666)
        write_durably(tmp_path / "open", b"", mode=PRIVATE)
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes == {"usual": 0o640, "private": 0o600, "open": 0o600}


def test_writers_at_once(tmp_path):
    path, contents = tmp_path / "file", [bytes([at]) * 100_000 for at in range(16)]
    with ThreadPoolExecutor(8) as pool:
        for _ in pool.map(lambda content: write_durably(path, content), contents):
            assert path.read_bytes() in contents
    assert list(tmp_path.iterdir()) == [path]


def test_one_that_is_given_up(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(OLD)
    with DurableFile(path) as new:
        new.file.write(NEW)
    assert path.read_bytes() == OLD
    assert list(tmp_path.iterdir()) == [path]
    with DurableFile(path) as new:
        new.file.write(NEW)
        assert new.commit() == len(NEW)
    assert path.read_bytes() == NEW


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError):
        write_durably(tmp_path / "absent" / "file", b"")


@pytest.mark.processes
def test_a_killed_process_leaves_what_can_be_told(tmp_path):
    script = (
        "import sys, time; from pathlib import Path; from tessera.durable_file import DurableFile\n"
        "new = DurableFile(Path(sys.argv[1])); new.file.write(b'x' * 99999); time.sleep(600)"
    )
    path = tmp_path / "file"
    path.write_bytes(OLD)
    with subprocess.Popen([sys.executable, "-c", script, str(path)]) as process:
        try:
            end = time.monotonic() + 30
            while not list(tmp_path.glob(LEFT)):
                assert time.monotonic() < end
                time.sleep(0.02)
        finally:
            process.send_signal(signal.SIGKILL)
    assert path.read_bytes() == OLD
    assert [each for each in tmp_path.iterdir() if each != path] == list(tmp_path.glob(LEFT))


def test_folders(tmp_path, monkeypatch):
    steps = steps_of(monkeypatch, tmp_path)
    make_folders(tmp_path / "a" / "b", tmp_path)
    assert (tmp_path / "a" / "b").is_dir()
    assert steps == ["sync file", "sync folder"]
