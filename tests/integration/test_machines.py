"""A whole platform on a machine of an unlikely kind."""

from __future__ import annotations

import os
import subprocess

import pytest
from namespaces import IPV6_OUTSIDE, NO_IPV4, hosts, within
from platforms import TESSERA, corpus

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(400)]

SPEC = """
name: small
model: {family: gpt, layers: 1, heads: 2, width: 32, context: 32}
tokenizer: {vocab_size: 300}
resources: {workers: 2}
data: {files: ["text/*"], held_out: 0.2}
train: {steps: 4, batch_size: 4}
"""
LIFE = """
tessera up
tessera status
tessera submit job.yaml --watch
tessera deploy small --model small
tessera generate small "some text" --max-tokens 4
tessera down
"""


def test_ipv6_alone_little_shared_memory_and_a_home_that_cannot_be_written(tmp_path):
    (tmp_path / "job.yaml").write_text(SPEC)
    corpus(tmp_path / "text")
    (tmp_path / "person").mkdir()
    narrow = "mount -t tmpfs -o size=64m none /dev/shm"
    sealed = "mount --bind person person; mount -o remount,ro,bind person"
    env = {name: value for name, value in os.environ.items() if name != "XDG_CACHE_HOME"}
    env |= {"HOME": str(tmp_path / "person"), "TESSERA_HOME": str(tmp_path / "home")}
    env["PATH"] = f"{TESSERA.parent}{os.pathsep}{env['PATH']}"
    machine = (NO_IPV4, IPV6_OUTSIDE, hosts("::1 localhost"), narrow, sealed)
    with subprocess.Popen(
        within(*machine, command=["sh", "-ec", LIFE]),
        cwd=tmp_path,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            told = process.communicate(timeout=300)[0]
        finally:
            subprocess.run([TESSERA, "down"], env=env, check=False)
    assert process.returncode == 0, told
    assert "note: /dev/shm has 64 MiB left of the 256" in told
    assert "note: no metrics, and no load in Ray's dashboard" in told
    assert "controller           [::1]:" in told
    assert "http://127." not in told
    assert "READY" in told
    assert "8 + 4 tokens" in told
    assert told.endswith("The platform is down.\n")
    assert list((tmp_path / "person").iterdir()) == []
