"""The benchmark of one accelerator, tried out where there is none."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest


def test_the_flops_of_gpt2_are_those_of_its_matrices(load):
    script = load("gpu_training")
    case = script.CASES["gpt2"]
    config = script.config_of(case)
    assert (config.decoder.dropout, config.decoder.attention_dropout) == (0, 0)
    blocks = 12 * (4 * 768 * 768 + 2 * 768 * 4 * 768)
    attention = 12 * 768 * case.length * 12 // 2
    token = 6 * (blocks + 768 * case.vocabulary) + attention
    assert script.flops(config, 3, case.length, 0) == 3 * case.length * token


def test_nothing_drops_out(load):
    script = load("gpu_training")
    for case in script.CASES.values():
        for stack in script.config_of(case).stacks:
            assert (stack.dropout, stack.attention_dropout) == (0, 0)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_its_lines_name_the_hardware(load, tmp_path):
    script = [sys.executable, load("gpu_training").__file__]
    told = ["--models", "tiny", "--accelerator", "", "--repeat", "1", "--steps", "1"]
    done = subprocess.run(
        [*script, *told],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "TORCHINDUCTOR_CACHE_DIR": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr
    (line,) = map(json.loads, done.stdout.splitlines())
    assert (line["bench"], line["hardware"], line["unit"]) == ("gpu_training", "cpu", "tokens/s")
    assert line["value"] > 0
    run = load("run")
    assert "| cpu | tiny: training |" in run.document([line], "here")
