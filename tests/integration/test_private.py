"""What another account of this machine sees of a platform: nothing that it could use.

The other account is real: a process that has become `nobody`, and is told where everything lies.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from platforms import Platform, command_line, tiny

from tessera.local.process import members

pytestmark = [
    pytest.mark.ray,
    pytest.mark.timeout(300),
    pytest.mark.skipif(os.getuid() != 0, reason="only root can become another account"),
]

NOBODY = 65534
TRIES = f"""
import json, os, sys

def tries(path):
    for kind, flags in (("read", os.O_RDONLY), ("written", os.O_WRONLY)):
        try:
            os.close(os.open(path, flags | os.O_NONBLOCK))
            yield kind
        except OSError:
            pass
    try:
        os.close(os.open(path + "/planted", os.O_WRONLY | os.O_CREAT))
        yield "planted in"
    except OSError:
        pass

paths = json.load(sys.stdin)
os.setgroups([])
os.setresgid({NOBODY}, {NOBODY}, {NOBODY})
os.setresuid({NOBODY}, {NOBODY}, {NOBODY})
json.dump({{path: done for path in paths if (done := list(tries(path)))}}, sys.stdout)
"""


def as_nobody(paths: list[str], descriptors: tuple[int, ...] = ()) -> dict[str, list[str]]:
    """What another account can do with each of these, where it can do anything."""
    done = subprocess.run(
        [sys.executable, "-I", "-c", TRIES],
        input=json.dumps(paths),
        pass_fds=descriptors,
        cwd="/",
        capture_output=True,
        check=True,
        text=True,
    )
    found: dict[str, list[str]] = json.loads(done.stdout)
    return found


def everything(root: Path) -> list[str]:
    return [str(root), *(str(p) for p in root.rglob("*") if not p.is_symlink())]


def processes(platform: Platform) -> list[psutil.Process]:
    state = platform.state
    found = members(state.platform, state.leaders)
    assert len(found) > 5, found
    return found


def written(process: psutil.Process) -> Iterator[str]:
    """Files with a name that a process has open for writing."""
    folder = Path(f"/proc/{process.pid}")
    try:
        for descriptor in (folder / "fd").iterdir():
            target = descriptor.readlink()
            told = (folder / "fdinfo" / descriptor.name).read_text()
            flags = int(told.partition("flags:")[2].split()[0], 8)
            if target.is_file() and flags & (os.O_WRONLY | os.O_RDWR):
                yield str(target)
    except OSError:
        return  # It, or its file, is gone.


def test_the_other_account_would_be_seen(tmp_path_factory):
    """The tests below can fail: what is open to everybody is told as such."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "shared").mkdir()
        (folder / "shared").chmod(0o777)
        (folder / "log").write_text("open")
        (folder / "log").chmod(0o644)
        (folder / "mine").write_text("closed")
        (folder / "mine").chmod(0o600)
        folder.chmod(0o755)
        found = as_nobody(everything(folder))
    assert found == {
        name: ["read"],
        f"{name}/shared": ["read", "planted in"],
        f"{name}/log": ["read"],
    }


def test_the_home(platform):
    """Entered by a descriptor: what lies above it and keeps others out is not the platform's."""
    home = os.open(platform.home.path, os.O_PATH | os.O_DIRECTORY)
    try:
        entered = f"/proc/self/fd/{home}"
        found = as_nobody(
            [
                path.replace(str(platform.home.path), entered)
                for path in everything(platform.home.path)
            ],
            (home,),
        )
    finally:
        os.close(home)
    assert found == {}


def test_rays_folder(platform, trained):
    folder = Path(platform.state.ray_temp_dir)
    paths = everything(folder)
    assert any(path.endswith(".log") for path in paths)
    assert any("/sockets/" in path for path in paths)
    assert as_nobody(paths) == {}


def test_whatever_its_processes_write(platform, trained):
    """Wherever that is: shared memory, caches, folders for temporary files."""
    paths = {path for process in processes(platform) for path in written(process)}
    assert any(path.endswith("controller.log") for path in paths)
    mine = {path for path in paths if not path.startswith("/dev/") or "/shm/" in path}
    assert as_nobody(sorted(mine)) == {}


def test_its_processes(platform, trained):
    """The environment is its owner's alone; what anybody may read of a process has no secret."""
    found = processes(platform)
    environments = [f"/proc/{process.pid}/environ" for process in found]
    assert as_nobody(environments) == {}
    told = " ".join(command_line(process) for process in found)
    assert "tessera.controller" in told
    assert told_secrets(platform, told) == []


def test_no_command_line_ever_has_a_ticket(platform, files):
    """From a submit to the end, of all processes that are seen on the way, however short-lived."""
    seen: set[str] = set()
    ended = threading.Event()

    def look() -> None:
        while not ended.is_set():
            for folder in Path("/proc").iterdir():
                with suppress(OSError):
                    if folder.name.isdecimal():
                        seen.add((folder / "cmdline").read_text(errors="replace"))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        platform.succeed(platform.submit(tiny("watched", files, steps=2, every=2)))
    finally:
        ended.set()
        thread.join()
    told = [line.replace("\0", " ") for line in seen]
    assert any("-m tessera.trainer" in line for line in told)
    shown = [line for line in told if "setup_worker.py" in line]
    assert any("PYTHONSAFEPATH" in line for line in shown), "what a Ray job's variables are"
    assert [line for line in told if told_secrets(platform, line)] == []


def told_secrets(platform: Platform, text: str) -> list[str]:
    """Tokens and tickets in a text."""
    tokens = (platform.token, platform.home.ray_token_path.read_text().strip())
    found = [token for token in tokens if token in text]
    return found + re.findall(r"eyJ[\w-]+\.eyJ[\w-]+\.|TESSERA_TICKET\S+\s*\S+|--ticket\S*", text)
