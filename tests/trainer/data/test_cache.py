"""A folder is built once and whole, whoever dies; what is in use stays."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tessera import errors
from tessera.trainer.data import cache
from tessera.trainer.data.cache import cached, private_folder

# Builds slowly, in two files; says what it does, so that the test can kill it in the middle.
BUILDER = """
import sys, time
from pathlib import Path
from tessera.trainer.data.cache import cached

def build(folder):
    folder.mkdir()
    (folder / "first").write_text("half")
    print("building", flush=True)
    time.sleep(float(sys.argv[3]))
    (folder / "second").write_text("whole")

folder = cached(Path(sys.argv[1]), sys.argv[2], build)
print(sorted(path.name for path in folder.iterdir()), flush=True)
sys.stdin.read()
"""


def builder(root, key, seconds):
    return subprocess.Popen(
        [sys.executable, "-c", BUILDER, str(root), key, str(seconds)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def made(size):
    def build(folder):
        folder.mkdir()
        (folder / "file").write_bytes(b"x" * size)

    return build


def let_go(key, root):
    os.close(cache._held.pop(root / key))


def test_a_folder_is_built_once(tmp_path):
    folder = cached(tmp_path, "a", made(3))
    assert (folder / "file").read_bytes() == b"xxx"
    assert cached(tmp_path, "a", pytest.fail) == folder
    let_go("a", tmp_path)
    assert cached(tmp_path, "a", pytest.fail) == folder
    let_go("a", tmp_path)


@pytest.mark.processes
def test_builders_that_are_killed_leave_nothing_half_done(tmp_path):
    killed = builder(tmp_path, "k", 60)
    assert killed.stdout.readline() == "building\n"
    # These wait for the first; when it dies one of them builds, and the other takes what it made.
    waiting = [builder(tmp_path, "k", 0.1) for _ in range(2)]
    time.sleep(0.3)
    assert not (tmp_path / "k").exists()
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    said = [process.communicate(timeout=30)[0] for process in waiting]
    assert sum("building" in text for text in said) == 1
    assert all(text.endswith("['first', 'second']\n") for text in said)
    assert not (tmp_path / "k.part").exists()
    killed.stdin.close()
    killed.stdout.close()


def test_whoever_comes_late_does_not_wait_for_those_who_use_it(tmp_path):
    user = cache._locked(tmp_path / "k", fcntl.LOCK_SH)
    with ThreadPoolExecutor() as pool:
        late = pool.submit(cached, tmp_path, "k", pytest.fail)
        try:
            time.sleep(0.1)
            assert not late.done()
            made(3)(tmp_path / "k")
            assert late.result(10) == tmp_path / "k"
        finally:
            os.close(user)


@pytest.mark.processes
def test_whoever_dies_the_others_get_whole_folders(tmp_path):
    builders = [builder(tmp_path, f"k{index % 2}", 0.15) for index in range(8)]
    for process in builders[:5]:
        time.sleep(0.07)
        process.send_signal(signal.SIGKILL)
    said = [process.communicate(timeout=30)[0] for process in builders[5:]]
    assert all(text.endswith("['first', 'second']\n") for text in said)
    for process in builders[:5]:
        process.communicate()
    assert {path.name for path in tmp_path.iterdir() if path.is_dir()} == {"k0", "k1"}


def test_a_build_that_fails_leaves_nothing(tmp_path):
    def fails(folder):
        made(3)(folder)
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        cached(tmp_path, "a", fails)
    assert [path.name for path in tmp_path.iterdir()] == ["a.lock"]
    cached(tmp_path, "a", made(1))
    let_go("a", tmp_path)


@pytest.mark.processes
def test_the_least_recently_used_go_and_what_is_in_use_stays(tmp_path):
    user = builder(tmp_path, "used", 0)
    assert user.stdout.readline() == "building\n"
    assert user.stdout.readline() == "['first', 'second']\n"
    for key in ("mine", "old", "new"):
        cached(tmp_path, key, made(100), 1000)
    for at, key in enumerate(("used", "mine", "new", "old")):
        os.utime(tmp_path / key, (at, at))
    let_go("old", tmp_path)
    let_go("new", tmp_path)
    cached(tmp_path, "old", made(100), 1000)
    let_go("old", tmp_path)
    (tmp_path / "dead.part").mkdir()
    cached(tmp_path, "next", made(100), 320)
    left = {path.name for path in tmp_path.iterdir() if path.is_dir()}
    assert left == {"used", "mine", "old", "next"}
    user.communicate(timeout=30)
    let_go("mine", tmp_path)
    cached(tmp_path, "last", made(100), 100)
    assert {path.name for path in tmp_path.iterdir() if path.is_dir()} == {"next", "last"}
    assert {path.stem for path in tmp_path.glob("*.lock")} == {"next", "last", "evict"}
    let_go("next", tmp_path)
    let_go("last", tmp_path)


def test_whoever_dies_while_one_is_removed_leaves_none_by_half(tmp_path, monkeypatch):
    cached(tmp_path, "old", made(10))
    let_go("old", tmp_path)

    def killed(path, **_):
        if path.exists():
            raise KeyboardInterrupt

    monkeypatch.setattr(cache.shutil, "rmtree", killed)
    with pytest.raises(KeyboardInterrupt):
        cache._evict(tmp_path, 0)
    monkeypatch.undo()
    assert not (tmp_path / "old").exists()
    folder = cached(tmp_path, "old", made(3))
    assert (folder / "file").read_bytes() == b"xxx"


def test_the_default_is_private(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    folder = private_folder("tables")
    assert folder == private_folder("tables")
    root = folder.parent
    assert root.stat().st_mode & 0o777 == 0o700
    root.chmod(0o755)
    with pytest.raises(errors.FailedPreconditionError) as caught:
        private_folder("tables")
    assert caught.value.reason == "CACHE_NOT_PRIVATE"
    folder.rmdir()
    root.rmdir()
    root.symlink_to(tmp_path)
    with pytest.raises(errors.FailedPreconditionError):
        private_folder("tables")
