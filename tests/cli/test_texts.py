"""The texts of a command: arguments, lines of a file as they come, and second texts beside them."""

from __future__ import annotations

import os
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tessera import errors
from tessera.cli import texts
from tessera.cli.texts import Line, beside, paired, read_texts, read_whole, seconds_of


def rows(lines):
    return [
        (line.text, line.place, line.second) if line.second is not None else (line.text, line.place)
        for block in lines.blocks
        for line in block
    ]


def test_arguments():
    assert rows(read_texts(["a"], "")) == [("a", "")]
    assert rows(read_texts(["a", ""], "")) == [("a", "text 1"), ("", "text 2")]
    assert rows(read_texts(["a"], "", option="--pair")) == [("a", "--pair")]
    assert rows(read_texts(["a", "b"], "", option="--pair"))[1] == ("b", "--pair 2")
    assert read_texts(["a", "b"], "").total == 2


@given(
    st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n\r"))),
    st.integers(1, 9),
    st.booleans(),
)
def test_lines_of_a_file(tmp_path_factory, wanted, size, ended):
    path = tmp_path_factory.mktemp("lines") / "file.txt"
    end = "\n" if ended and wanted else ""
    path.write_bytes(("\n".join(wanted) + end).encode())
    # What has no line end and nothing in it is no line.
    wanted = wanted if end or (wanted and wanted[-1]) else wanted[:-1]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(texts, "BLOCK_BYTES", size)
        lines = read_texts(None, str(path))
        found = rows(lines)
    assert found == [(text, f"{path}:{i + 1}") for i, text in enumerate(wanted)]
    assert lines.total == len(wanted)


def test_line_ends_of_other_systems(tmp_path):
    path = tmp_path / "dos.txt"
    path.write_bytes(b"a\r\n\r\nb\rc")
    assert [text for text, _ in rows(read_texts(None, str(path)))] == ["a", "", "b\rc"]


def test_what_is_there_is_read_without_waiting_for_more(monkeypatch):
    """A pipe: a program that prints a line now and then has each answered at once."""
    reader, writer = os.pipe()
    with os.fdopen(reader) as stdin, os.fdopen(writer, "wb", buffering=0) as pipe:
        monkeypatch.setattr("sys.stdin", stdin)
        lines = read_texts(None, "-")
        assert lines.total is None
        pipe.write(b"a\nb\n")
        assert next(lines.blocks) == [
            Line(text="a", place="stdin:1"),
            Line(text="b", place="stdin:2"),
        ]
        pipe.write("ä".encode()[:1])
        assert next(lines.blocks) == []
        pipe.write("ä".encode()[1:] + b"c\nd")
        assert next(lines.blocks) == [Line(text="äc", place="stdin:3")]
        pipe.close()
        assert next(lines.blocks) == [Line(text="d", place="stdin:4")]
        assert list(lines.blocks) == []


def test_second_texts(tmp_path):
    path = tmp_path / "two.txt"
    path.write_text("x\ny\n")
    seconds = read_texts(None, str(path))
    assert rows(beside(read_texts(["a", "b"], ""), seconds)) == [
        ("a", "text 1", "x"),
        ("b", "text 2", "y"),
    ]
    one = read_texts(["x"], "", option="--pair")
    assert [row[2] for row in rows(beside(read_texts(["a", "b"], ""), one))] == ["x", "x"]


@pytest.mark.parametrize(("seconds", "found"), [(None, None), ([], None), (["", "x"], ["", "x"])])
def test_second_texts_may_be_left_out(seconds, found):
    lines = paired(read_texts(["a", "b"], ""), seconds, "", option="--pair")
    assert [seconds_of(block) for block in lines.blocks] == [found]


@pytest.mark.parametrize(
    ("firsts", "seconds", "words"),
    [
        (3, 2, "text 3: there is no second text for it"),
        (2, 4, "--pair 3: there is no text for it; the last one is text 2"),
    ],
)
def test_second_texts_that_are_too_few_or_too_many(firsts, seconds, words):
    lines = beside(read_texts(["a"] * firsts, ""), read_texts(["b"] * seconds, "", option="--pair"))
    with pytest.raises(errors.InvalidArgumentError) as caught:
        rows(lines)
    assert caught.value.message.startswith(words)
    assert caught.value.reason == "NUMBERS_DIFFER"


@pytest.mark.parametrize(
    ("call", "words", "reason"),
    [
        (lambda _: read_texts(None, ""), "there is no text; give some", "NO_TEXT"),
        (lambda _: read_texts([], "", option="--pair"), "with --pair-file", "NO_TEXT"),
        (lambda _: read_texts(["a"], "f"), "give texts or --file, not both", "TWO_SOURCES"),
        (lambda _: read_texts(None, "nope"), "nope: there is no such file", "FILE_NOT_FOUND"),
        (lambda folder: read_texts(None, str(folder)), "is a directory", "FILE_NOT_READABLE"),
        (lambda _: read_whole("nope"), "nope: there is no such file", "FILE_NOT_FOUND"),
    ],
)
def test_mistakes(tmp_path, call, words, reason):
    with pytest.raises(errors.InvalidArgumentError) as caught:
        call(tmp_path)
    assert words in caught.value.message
    assert caught.value.reason == reason


def test_what_is_not_text(tmp_path):
    path = tmp_path / "latin.txt"
    path.write_bytes("gut\nschön\n".encode("latin-1"))
    with pytest.raises(
        errors.InvalidArgumentError, match=r"latin.txt:2: it is not UTF-8"
    ) as caught:
        rows(read_texts(None, str(path)))
    assert caught.value.reason == "NOT_UTF8"
    with pytest.raises(errors.InvalidArgumentError, match=r"latin.txt:2: it is not UTF-8"):
        read_whole(str(path))


def test_pipes_have_no_number_of_lines(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    thread = threading.Thread(target=lambda: path.write_text("a\nb\n"))
    thread.start()
    lines = read_texts(None, str(path))
    assert lines.total is None
    assert [text for text, _ in rows(lines)] == ["a", "b"]
    thread.join()
