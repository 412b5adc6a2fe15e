"""All that a process prints, whoever printed it and wherever it goes, once and in lines."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.processes

PROGRAM = r"""
import ctypes, json, logging, os, subprocess, sys, time
from pathlib import Path
from tessera.trainer.control.output import PrintedOutput

print("before the start")
handler = logging.StreamHandler()  # Of before, as Ray's.
lines = []
output = PrintedOutput(lines.append)
output.start()
try:
    print("printed")
    sys.stdout.write("half a ")
    sys.stdout.flush()
    time.sleep(0.3)
    sys.stdout.write("line\n")
    print("beside", file=sys.stderr)
    print("original", file=sys.__stdout__)
    logging.getLogger("x").addHandler(handler)
    logging.getLogger("x").warning("warned")
    subprocess.run(["sh", "-c", "echo child; echo child beside >&2"], check=True)
    subprocess.run([sys.executable, "-c", "import os; os.write(1, b'raw child\\n')"], check=True)
    os.write(2, b"descriptor\n")
    libc = ctypes.CDLL(None)
    libc.puts(b"from C")
    libc.fflush(None)
    print("caf\u00e9 \u4e2d \udce9")
    os.write(1, b"broken \xff byte\n")
    os.write(1, "split \u4e2d".encode()[:-1])
    time.sleep(0.3)
    os.write(1, "split \u4e2d".encode()[-1:] + b"\n")
    print(":task_name:work()")
    for done in range(100):
        sys.stderr.write(f"\r{done}%")
        sys.stderr.flush()
    print("between")
    sys.stderr.write("\r100%\n")
    print("x" * 20_000)
    print("\n".join(f"many {i}" for i in range(2000)))
    sys.stdout.write("no end")
finally:
    output.close()
print("after the end")
Path(sys.argv[1]).write_text(json.dumps(lines))
"""
ONCE = (
    "printed", "half a line", "beside", "original", "warned", "child", "child beside", "raw child",
    "descriptor", "from C", "café 中 \\udce9", "broken \\xff byte", "split 中", "between", "100%",
    "x" * 8_000, "no end", *(f"many {i}" for i in range(2000)),
)  # fmt: skip


def run(tmp_path, out, err):
    told = tmp_path / "lines.json"
    env = {**os.environ, "PYTHONUNBUFFERED": "1"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(told)], stdout=out, stderr=err, env=env, check=False
    )
    return done, json.loads(told.read_text())


def check(lines):
    counts = {line: lines.count(line) for line in ONCE}
    assert counts == dict.fromkeys(ONCE, 1)
    assert set(lines) - set(ONCE) == set(), "and nothing else"


def test_two_files(tmp_path):
    with (tmp_path / "out").open("ab") as out, (tmp_path / "err").open("ab") as err:
        done, lines = run(tmp_path, out, err)
    assert done.returncode == 0
    check(lines)
    written = (tmp_path / "out").read_text(errors="replace")
    assert written.startswith("before the start\n")
    assert written.endswith("no endafter the end\n"), "the file holds all of it as well"
    many = [line for line in lines if line.startswith("many")]
    assert many == [f"many {i}" for i in range(2000)]


def test_one_file_for_both(tmp_path):
    with (tmp_path / "out").open("ab") as out:
        _, lines = run(tmp_path, out, subprocess.STDOUT)
    # A bar that another line runs into is one line with it, as on a terminal.
    bars = {"between", "100%"}
    counts = {line: lines.count(line) for line in ONCE if line not in bars}
    assert set(counts.values()) == {1}


@pytest.mark.parametrize("both", [subprocess.PIPE, subprocess.STDOUT])
def test_pipes(tmp_path, both):
    done, lines = run(tmp_path, subprocess.PIPE, both)
    assert done.returncode == 0, done.stderr
    check(lines)
    assert b"\nprinted\n" in done.stdout, "who reads the pipe has it too"
    assert done.stdout.endswith(b"after the end\n")


MASKED = r"""
import json, os, subprocess, sys, time
from pathlib import Path
from tessera.trainer.control.output import PrintedOutput
from tessera.trainer.mask import Mask

lines, mask = [], Mask()
output = PrintedOutput(lines.append, mask)
output.start()
print("begun")
secret = os.environ["SECRET"]
mask.learn([secret])
print("it is", secret)
print("https://me:" + secret + "@host", file=sys.stderr)
subprocess.run(["sh", "-c", "echo child $SECRET; echo beside $SECRET >&2"], check=True)
sys.stdout.write(secret[:9])
sys.stdout.flush()
time.sleep(0.3)
os.write(1, (secret[9:] + " in two\n").encode())
print("x" * 7_990 + secret)
print("no end " + secret, end="")
output.close()
print("too late: " + secret)
subprocess.run(["sh", "-c", "echo too late $SECRET >&2"], check=True)
Path(sys.argv[1]).write_text(json.dumps(lines))
"""


@pytest.mark.parametrize("one", [False, True])
def test_what_is_hidden_is_nowhere(tmp_path, one):
    """Neither in what is shipped nor in the files that stood behind the descriptors."""
    secret = "planted-0123456789"
    out, err, told = (tmp_path / name for name in ("out", "err", "lines.json"))
    with out.open("ab") as first, err.open("ab") as second:
        subprocess.run(
            [sys.executable, "-c", MASKED, str(told)],
            stdout=first,
            stderr=subprocess.STDOUT if one else second,
            env={**os.environ, "SECRET": secret},
            check=True,
        )
    lines = json.loads(told.read_text())
    expected = {
        *("begun", "it is ***", "https://me:***@host", "child ***", "beside ***", "*** in two"),
        *("x" * 7_990 + "***", "no end ***"),
    }
    assert set(lines) == expected, "each of them, and all of each but the secret"
    written = out.read_text() + err.read_text()
    assert set(written.splitlines()) == expected
    for start in range(len(secret) - 8):
        assert secret[start : start + 9] not in written + told.read_text()
