"""What an unkind shell, in which the platform of these tests was started, does not spoil."""

from __future__ import annotations

import json
import re

import pytest

from .unkind import NOWHERE

pytestmark = [pytest.mark.ray, pytest.mark.timeout(400)]

NOISY = r"""
import json, logging, os, subprocess, sys, urllib.request

def train(context):
    for i in range(3):
        print("printed", i)
    sys.stdout.write("written out\n")
    sys.stderr.write("written beside\n")
    print("printed beside", file=sys.stderr)
    logging.getLogger("mine").warning("warned")
    print("caf\u00e9 \udce9")
    for done in range(5):
        sys.stderr.write(f"\rbar {done}/4")
    sys.stderr.write("\n")
    subprocess.run(["sh", "-c", "echo from a child"], check=True)
    os.write(1, b"from a descriptor\n")
    facts = {
        "proxies": urllib.request.getproxies(),
        "path": [p for p in sys.path if not p or p.startswith(os.environ["PROJECT"])],
        "files": [f for m in list(sys.modules.values())
                  if (f := getattr(m, "__file__", None) or "").startswith(os.environ["PROJECT"])],
        "encoding": sys.stdout.encoding,
        "umask": os.umask(0o077),
        "safe": os.environ.get("PYTHONSAFEPATH"),
    }
    print("FACTS" + json.dumps(facts))
"""
SPEC = """
name: noisy
model: {family: gpt, layers: 1, heads: 2, width: 32, context: 32}
tokenizer: {vocab_size: 300}
data: {files: ["a.txt"], held_out: 0.2}
train: {steps: 2, batch_size: 4}
code: noisy.py
entrypoint: noisy:train
"""
EXPECTED = (
    *(f"printed {i}" for i in range(3)),
    "written out",
    "written beside",
    "printed beside",
    "warned",
    "café \\udce9",
    "bar 4/4",
    "from a child",
    "from a descriptor",
)


def test_it_answers(platform):
    values = json.loads(platform.run("status", "--output", "json").stdout)
    assert values["pools"][0]["live"]
    assert values["home"] == str(platform.home.path)


def test_what_a_job_prints_comes_once_and_its_process_is_clean(platform):
    project = platform.shell["cwd"]
    (project / "noisy.py").write_text(NOISY)
    text = "".join(f"some text here, line {i} of many\n" for i in range(2000))
    (project / "a.txt").write_text(text)
    (project / "job.yaml").write_text(SPEC)
    platform.run("submit", "job.yaml", "--watch")
    out = platform.run("logs", "noisy", "--source", "rank-0").stdout
    lines = [line.rstrip() for line in out.splitlines()]
    wanted = {line.encode("ascii", "backslashreplace").decode() for line in EXPECTED}
    counts = {line: sum(found.endswith(line) for found in lines) for line in wanted}
    assert counts == dict.fromkeys(wanted, 1), out
    facts = json.loads(next(line for line in lines if line.startswith("FACTS"))[5:])
    assert facts["proxies"]["http"] == NOWHERE, "data sets are reached through the proxy"
    assert "127.0.0.1" in facts["proxies"]["no"]
    assert (facts["encoding"], facts["umask"], facts["safe"]) == ("utf-8", 0o077, None)
    assert (facts["path"], facts["files"]) == ([], [])


def test_everything_is_for_its_owner_only(platform):
    wrong = [
        path
        for path in platform.home.path.rglob("*")
        if path.stat().st_mode & 0o077 and not path.is_symlink()
    ]
    assert wrong == []


def test_logs_hold_no_trace_of_a_proxy(platform):
    for log in (platform.home.path / "logs").glob("*.log"):
        assert not re.search(r"127\.0\.0\.1:9\b", log.read_text()), log
