"""Data that is wrong, and what is said about it."""

from __future__ import annotations

import fsspec
import numpy as np
import pytest

from tessera import errors
from tessera.text.tokenizer import train_byte_bpe
from tessera.trainer.corpus import Corpus, check_length, encode
from tessera.trainer.failure import UserError
from tessera.trainer.rank import no_blobs
from tessera.trainer.sources import fetch, read_one
from tessera.trainer.split import Text


def fails(files, reason, read_blob=no_blobs):
    with pytest.raises(UserError) as caught:
        fetch(files, 0, read_blob)
    assert caught.value.reason == reason
    assert caught.value.violations[0].field == "data.files"
    return caught.value.message


def test_vanished_data(tmp_path):
    assert "gone.txt" in fails([str(tmp_path / "gone.txt")], "DATA_NOT_FOUND")
    fails([f"{tmp_path}/*.txt"], "DATA_NOT_FOUND")
    fails(["stdlib://no/such/*.py"], "DATA_NOT_FOUND")
    fails(["blob://" + "0" * 64 + "/a.txt"], "DATA_NOT_FOUND")
    fails(["memory://nothing/here.txt"], "DATA_NOT_FOUND")
    fails(["nosuchscheme://x"], "DATA_UNREADABLE")


def test_empty_data(tmp_path):
    (tmp_path / "a.txt").write_text("")
    (tmp_path / "b.txt").write_text(" \n\n")
    fails([f"{tmp_path}/*.txt"], "DATA_EMPTY")


@pytest.mark.parametrize("content", [b"\x89PNG\xff\xfe", b"text with \0 in it", b"\xe6"])
def test_binary_data_names_the_file(content, tmp_path):
    (tmp_path / "good.txt").write_text("good")
    (tmp_path / "bad.bin").write_bytes(content)
    assert "bad.bin" in fails([f"{tmp_path}/*"], "DATA_NOT_TEXT")


def test_the_standard_library_is_text_without_tests():
    texts = fetch(["stdlib://**/*.py"], 3_000_000, no_blobs)
    assert 2_900_000 < sum(len(text.content.encode()) for text in texts) <= 3_000_000
    assert not any("site-packages" in text.name or "/tests/" in text.name for text in texts)
    assert [text.name for text in texts] == sorted(text.name for text in texts)


def test_everything_fsspec_opens_is_read_and_named_below_the_pattern():
    filesystem = fsspec.filesystem("memory")
    for name, content in {"a/b.txt": "one", "a/c/d.txt": "naïve"}.items():
        filesystem.pipe(f"/corpus/{name}", content.encode())
    texts = fetch(["memory://corpus/**/*.txt"], 0, no_blobs)
    assert texts == [
        Text(name="a/b.txt", content="one"),
        Text(name="a/c/d.txt", content="naïve"),
    ]
    assert read_one("memory://corpus/a/b.txt", no_blobs) == b"one"


def test_uploads_are_read_by_their_digest():
    blobs = {"f" * 64: b"uploaded"}
    texts = fetch([f"blob://{'f' * 64}/my.txt"], 0, blobs.__getitem__)
    assert texts == [Text(name="my.txt", content="uploaded")]


def test_a_limit_cuts_between_characters():
    texts = fetch([f"blob://{'f' * 64}/my.txt"], 4, lambda _: "aééé".encode())
    assert texts == [Text(name="my.txt", content="aé")]


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


def test_texts_end_with_their_token():
    tokenizer = train_byte_bpe(iter(["ab ab ab"]), 260)
    line = encode([Text(name="a", content="ab"), Text(name="b", content="b")], tokenizer)
    assert line.dtype == np.uint16
    assert line.tolist().count(tokenizer.end_id) == 2
    assert line[-1] == tokenizer.end_id
    assert tokenizer.decode([i for i in line.tolist() if i != tokenizer.end_id]) == "abb"
