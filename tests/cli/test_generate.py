"""Texts are written on the command line."""

from __future__ import annotations

import pytest

from .tables import row

pytestmark = pytest.mark.processes


def test_models_and_generate(on, served, monkeypatch):
    assert row(on("models").out, "tiny")[1:5] == ["tiny@1", "READY", "1/1", "1"]
    options = ("--max-tokens", "6", "--temperature", "0")
    done = on("generate", "tiny", "def add", *options)
    assert done.code == 0
    assert done.err.startswith("version 1 · ")
    assert "6 tokens" in done.err
    parts = on("generate", "tiny", "def add", *options, "--logprobs", "--output", "json").lines
    assert "".join(part["text"] for part in parts) == done.out.removesuffix("\n")
    assert sum(len(part["logprobs"]) for part in parts) == 6
    assert parts[-1]["version"] == 1
    assert len(on("generate", "tiny", "def add", *options, "--logprobs").err.splitlines()) == 7
