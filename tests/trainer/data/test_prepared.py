"""Tokenised once per host and never again, by ranks that agree on what they have read."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch.distributed as dist

from tessera import errors
from tessera.data.record import Record
from tessera.data.settings import DataSettings
from tessera.text.file import TokenizerFile
from tessera.text.special import BERT, GPT
from tessera.text.training import train
from tessera.trainer.data.corpus import Corpus, check_length, prepare
from tessera.trainer.data.prepared import prepare_table
from tessera.trainer.data.settings import TokenizerSettings
from tessera.trainer.data.vocabulary import learn
from tessera.trainer.ranks import Ranks

SCRIPT = Path(__file__).with_name("hosts_process.py")
TEXTS = ["to be or not to be", "that is the question", "whether it is nobler"]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """A gang of this process."""
    meeting = tmp_path_factory.mktemp("gang") / "store"
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=0, world_size=1)
    yield Ranks(rank=0, world_size=1, local_rank=0)
    dist.destroy_process_group()


def records(*texts):
    return [Record(values={"text": text}, place=f"a:{i}") for i, text in enumerate(texts)]


def test_samples_are_made_once_for_what_they_depend_on(alone, tmp_path):
    made = []

    def encode(found):
        made.append(len(found))
        for record in found:
            yield {"ids": list(record.values["text"].encode())}

    def encoded(parts, *texts):
        return prepare_table(alone, parts, records(*texts), encode, tmp_path)

    first = encoded(("task", b"tokenizer"), "a", "bc")
    again = encoded(("task", b"tokenizer"), "a", "bc")
    assert made == [2]
    assert first.digest == again.digest
    assert [again.row(i)["ids"].tolist() for i in range(len(again))] == [[97], [98, 99]]
    encoded(("task", b"another"), "a", "bc")
    encoded(("taskt", b"okenizer"), "a", "bc")
    assert encoded(("task", b"tokenizer"), "ab", "c").digest != first.digest
    assert encoded(("task", b"tokenizer"), "a").digest != first.digest
    assert made == [2, 2, 2, 2, 1]


def test_records_that_make_no_sample_are_no_data(alone, tmp_path):
    with pytest.raises(errors.InvalidArgumentError) as caught:
        prepare_table(alone, (), records("a"), lambda _: [], tmp_path)
    assert caught.value.reason == "DATA_EMPTY"


def test_a_corpus_is_all_texts_end_to_end(alone, tmp_path):
    for index, text in enumerate(TEXTS):
        (tmp_path / f"{index}.txt").write_text(text)
    (tmp_path / "cache").mkdir()
    seen = []

    def tokenizer_of(texts):
        seen.append(sorted(texts))
        return learn(alone, texts, TokenizerSettings(vocab_size=262))

    data = DataSettings(files=(f"{tmp_path}/[01].txt",), validation_files=(f"{tmp_path}/2.txt",))
    corpus, tokenizer = prepare(alone, data, pytest.fail, tokenizer_of, tmp_path / "cache")
    assert seen == [sorted(TEXTS[:2])]
    for line, texts in ((corpus.train, TEXTS[:2]), (corpus.held_out, TEXTS[2:])):
        assert line.tolist() == [
            token for text in texts for token in [*tokenizer.encode(text), tokenizer.end_id]
        ]
    again, _ = prepare(alone, data, pytest.fail, tokenizer_of, tmp_path / "cache")
    assert again.digest == corpus.digest
    assert len(list((tmp_path / "cache").glob("*.lock"))) == 3


def test_a_tokenizer_is_learned_or_given(alone):
    settings = TokenizerSettings(kind="wordpiece", vocab_size=60, lowercase=True, special=BERT)
    learned = learn(alone, ["The the THE"], settings)
    assert learned.special == BERT
    assert learned.encode("THE") == learned.encode("the")
    given = train("byte_bpe", iter(TEXTS), 262, GPT).to_json()
    assert learn(alone, pytest.fail, settings, TokenizerFile(content=given)).to_json() == given
    with pytest.raises(errors.InvalidArgumentError) as caught:
        learn(alone, TEXTS, TokenizerSettings(vocab_size=9))
    assert caught.value.reason == "VOCABULARY_TOO_SMALL"
    with pytest.raises(errors.InvalidArgumentError) as caught:
        learn(alone, TEXTS, settings, TokenizerFile(content=b"{}"))
    assert caught.value.reason == "INVALID_TOKENIZER"


def test_too_short_for_a_sequence():
    long, short = np.zeros(100, np.uint16), np.zeros(8, np.uint16)
    check_length(Corpus(train=long, held_out=long, digest=""), 99)
    for corpus in (
        Corpus(train=short, held_out=long, digest=""),
        Corpus(train=long, held_out=short, digest=""),
    ):
        with pytest.raises(errors.InvalidArgumentError) as caught:
            check_length(corpus, 8)
        assert caught.value.reason == "DATA_TOO_SHORT"
        assert caught.value.violations[0].field == "data.files"


@pytest.mark.processes
def test_ranks_agree_on_what_they_have_read(tmp_path):
    for name in "ab":
        (tmp_path / f"{name}.txt").write_text(f"text {name} " * 50)
    roots = [tmp_path / "first", tmp_path / "second"]
    for root in roots:
        root.mkdir()
    done = subprocess.run(
        [sys.executable, SCRIPT, tmp_path, *roots],
        capture_output=True,
        check=False,
        text=True,
        timeout=60,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    first, second = json.loads(done.stdout)
    assert first["one host"] == second["one host"] == first["two hosts"] == second["two hosts"]
    assert first["one host"][1] > first["one host"][2] > 0
    assert first["other data"] == second["other data"] == "DATA_DIFFERS"
    assert (first["no data"], second["no data"]) == ("ANOTHER_RANK_FAILED", "DATA_NOT_FOUND")
    # Two tables that both hosts have, and those that only rank 0's data makes.
    assert {path.stem for path in roots[1].glob("*.lock")} <= {
        path.stem for path in roots[0].glob("*.lock")
    }
