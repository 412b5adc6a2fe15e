"""Presets have the values of their papers; the table in docs/models.md is that of the code."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tessera.models.registry import FAMILIES

SCRIPT = Path(__file__).parents[2] / "docs" / "presets.py"


def stacks(family, preset):
    """The stacks of a preset."""
    return FAMILIES[family].config(FAMILIES[family].presets[preset], vocab_size=99).stacks


@pytest.mark.parametrize("preset", FAMILIES["bert"].presets)
def test_bert_drops_in_every_layer_and_in_attention(preset):
    (encoder,) = stacks("bert", preset)
    assert (encoder.dropout, encoder.attention_dropout) == (0.1, 0.1)
    assert encoder.norm_epsilon == 1e-12


@pytest.mark.parametrize(
    ("preset", "base"), [("llama-mini", 10_000), ("llama-1b", 500_000), ("llama-8b", 500_000)]
)
def test_llama_turns_by_the_base_of_its_release(preset, base):
    (decoder,) = stacks("gpt", preset)
    assert (decoder.positions, decoder.rotary_base) == ("rotary", base)
    assert decoder.norm_epsilon == 1e-5
    assert decoder.attention_dropout == 0


@pytest.mark.processes
def test_the_table_is_up_to_date():
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--check"], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
