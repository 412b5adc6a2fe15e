"""A platform in an unkind shell: proxies that lead nowhere, modules in the way, no UTF-8."""

from __future__ import annotations

import json
import os
import re
import subprocess

import pytest
from platforms import TESSERA, Platform

pytestmark = [pytest.mark.ray, pytest.mark.timeout(400)]

NOWHERE = "http://127.0.0.1:9"
PROXIES = ("http_proxy", "https_proxy", "all_proxy", "grpc_proxy", "ftp_proxy")
SHADOWS = ("grpc", "queue", "emoji", "ray", "yaml", "typing", "torch", "tessera", "structlog")
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


@pytest.fixture(scope="module")
def shell(tmp_path_factory):
    """Runs `tessera` in a folder full of traps; a platform is up there."""
    folder = tmp_path_factory.mktemp("unkind")
    project = folder / "projekt é [red]"
    project.mkdir()
    for name in SHADOWS:
        trap = f"open({str(folder / 'trapped')!r}, 'a').write('{name} ')\n"
        (project / f"{name}.py").write_text(f"{trap}raise SystemExit('{name} is a trap')\n")
    (project / "noisy.py").write_text(NOISY)
    (project / "a.txt").write_text(
        "".join(f"some text here, line {i} of many\n" for i in range(2000))
    )
    (project / "job.yaml").write_text(SPEC)
    env = {name: value for name, value in os.environ.items() if name not in {"LANG", "LC_CTYPE"}}
    for name in PROXIES:
        env[name] = env[name.upper()] = NOWHERE
    env |= {"PROJECT": str(project), "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    env |= {"PYTHONIOENCODING": "ascii", "PYTHONWARNINGS": "error", "PYTHONOPTIMIZE": "0"}
    # All of the home's name: spaces, letters beyond A to Z, what URLs and markup take for theirs.
    platform = Platform(folder / "a home [b]é?x#y%20" / ("long-" * 20))

    def run(*arguments, **more):
        done = subprocess.run(
            [str(TESSERA), "--home", str(platform.home.path), *arguments],
            env={**env, **more},
            cwd=project,
            umask=0o000,
            capture_output=True,
            timeout=300,
            check=False,
        )
        out, err = done.stdout.decode(), done.stderr.decode()
        assert "Traceback" not in err
        return done.returncode, out, err

    # PYTHONWARNINGS is of the caller too: only for what the platform starts.
    run.folder, run.project, run.platform = folder, project, platform
    quiet = {"PYTHONWARNINGS": "default"}
    try:
        code, out, err = run("up", **quiet)
        assert code == 0, err
        run.up = out, err
        yield run
    finally:
        run("down", **quiet)


def test_it_comes_up_and_answers(shell):
    assert "parameters" in shell.up[1]
    code, out, err = shell("status", "--output", "json", PYTHONWARNINGS="default")
    assert code == 0, err
    values = json.loads(out)
    assert values["pools"][0]["live"]
    assert values["home"] == str(shell.platform.home.path)


def test_what_a_job_prints_comes_once_and_its_process_is_clean(shell):
    code, _, err = shell("submit", "job.yaml", "--watch", PYTHONWARNINGS="default")
    assert code == 0, err
    _, out, _ = shell("jobs", "--output", "json", PYTHONWARNINGS="default")
    job = json.loads(out)[0]["id"]
    _, out, _ = shell("logs", job, "--source", "rank-0", PYTHONWARNINGS="default")
    lines = [line.rstrip() for line in out.splitlines()]
    wanted = {line.encode("ascii", "backslashreplace").decode() for line in EXPECTED}
    counts = {line: sum(found.endswith(line) for found in lines) for line in wanted}
    assert counts == dict.fromkeys(wanted, 1), out
    facts = json.loads(next(line for line in lines if line.startswith("FACTS"))[5:])
    assert facts["proxies"]["http"] == NOWHERE, "data sets are reached through the proxy"
    assert "127.0.0.1" in facts["proxies"]["no"]
    assert (facts["encoding"], facts["umask"], facts["safe"]) == ("utf-8", 0o077, None)
    assert (facts["path"], facts["files"]) == ([], [])


def test_no_module_in_the_way_was_run(shell):
    assert not (shell.folder / "trapped").exists()


def test_everything_is_for_its_owner_only(shell):
    wrong = [
        path
        for path in shell.platform.home.path.rglob("*")
        if path.stat().st_mode & 0o077 and not path.is_symlink()
    ]
    assert wrong == []


def test_logs_hold_no_trace_of_a_proxy(shell):
    for log in (shell.platform.home.path / "logs").glob("*.log"):
        assert not re.search(r"127\.0\.0\.1:9\b", log.read_text()), log
