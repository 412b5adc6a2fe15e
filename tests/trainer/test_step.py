"""One step is the same whatever the ranks and micro-batches, and moves only what may learn."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.processes

SCRIPT = Path(__file__).with_name("gradient_process.py")


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """What two ranks found, in one go."""
    out = tmp_path_factory.mktemp("steps") / "results.json"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {
        **os.environ,
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "OMP_NUM_THREADS": "1",
        # It makes settings as other tests do.
        "PYTHONPATH": str(Path(__file__).parents[1] / "plugins"),
    }
    processes = [
        subprocess.Popen(
            [sys.executable, str(SCRIPT), str(out)],
            env={**environment, "RANK": str(rank), "LOCAL_RANK": str(rank)},
        )
        for rank in range(2)
    ]
    try:
        assert [process.wait(timeout=120) for process in processes] == [0, 0]
    finally:
        for process in processes:
            process.kill()
    return json.loads(out.read_text())


@pytest.mark.parametrize("model", ["joint", "shared"])
@pytest.mark.parametrize("strategy", ["fsdp", "ddp"])
@pytest.mark.parametrize("parts", [1, 2])
def test_the_gradient_is_that_of_the_whole_batch(model, strategy, parts, results):
    assert results[f"{model}-size"] > 0.01
    assert results[f"{model}-{strategy}-{parts}"] < 1e-6


@pytest.mark.parametrize("strategy", ["fsdp", "ddp"])
def test_frozen_weights_keep_every_bit(strategy, results):
    assert len(results["encoder"]) > 20
    assert results[f"still-{strategy}-0-False"] == results["encoder"]
    assert results[f"still-{strategy}-3-True"] == results["encoder"]
    assert results[f"still-{strategy}-3-False"] == []


@pytest.mark.parametrize("strategy", ["fsdp", "ddp"])
def test_adapters_are_merged_where_they_lie(strategy, results):
    found = results[f"merged-{strategy}"]
    assert found["far"] < 1e-6
    assert found["adapters"] == 8
    assert found["states"] == ["bias", "lora_a", "lora_b", "weight"]
