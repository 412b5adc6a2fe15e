"""Samples on disk are the samples that were put there."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tessera.trainer.data import column
from tessera.trainer.data.table import Table

IDS = st.lists(st.one_of(st.integers(0, 300), st.integers(-(2**40), 2**40)), max_size=6)
SCORES = st.lists(st.floats(width=32, allow_nan=False), max_size=2)
SAMPLES = st.lists(st.fixed_dictionaries({"ids": IDS, "scores": SCORES}), max_size=12)


@settings(max_examples=60, deadline=None)
@given(samples=SAMPLES, buffer=st.sampled_from([1, 5, 1000]))
def test_a_table_gives_back_what_was_written(samples, buffer):
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(column, "_BUFFER", buffer)
        table = Table.write(Path(folder, "table"), samples)
        again = Table.open(Path(folder, "table"))
    assert len(table) == len(again) == len(samples)
    assert table.digest == again.digest
    for index, sample in enumerate(samples):
        row = again.row(index)
        assert row["ids"].tolist() == sample["ids"]
        assert row["ids"].dtype == np.int64
        assert row["scores"].tolist() == sample["scores"]
    if samples:
        assert again.lengths("ids").tolist() == [len(sample["ids"]) for sample in samples]
        assert again.line("ids").tolist() == [i for sample in samples for i in sample["ids"]]


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([0, 255], np.uint8),
        ([256], np.uint16),
        ([65535, 65536], np.uint32),
        ([2**33], np.int64),
        ([127, -1], np.int8),
        ([255, -100], np.int16),
        ([1, 0.5], np.float32),
        ([], np.uint8),
    ],
)
@pytest.mark.parametrize("buffer", [1, 1000])
def test_elements_are_as_small_as_can_be(values, kind, buffer, tmp_path, monkeypatch):
    monkeypatch.setattr(column, "_BUFFER", buffer)
    table = Table.write(tmp_path / "table", [{"a": [value]} for value in values] or [{"a": []}])
    assert table.line("a").dtype == kind
    assert table.line("a").tolist() == values


def test_a_digest_tells_tables_apart(tmp_path):
    samples = [
        [{"a": [1, 2]}, {"a": [3]}],
        [{"a": [1]}, {"a": [2, 3]}],
        [{"b": [1, 2]}, {"b": [3]}],
        [{"a": [1, 2]}, {"a": [-3]}],
        [{"a": [1, 2]}],
        [],
    ]
    digests = [Table.write(tmp_path / str(i), s).digest for i, s in enumerate(samples)]
    assert len(set(digests)) == len(digests)
    assert Table.write(tmp_path / "again", samples[0]).digest == digests[0]


def test_samples_with_other_columns_are_refused(tmp_path):
    with pytest.raises(ValueError, match="row 1 has columns"):
        Table.write(tmp_path / "table", [{"a": [1]}, {"a": [1], "b": [2]}])
