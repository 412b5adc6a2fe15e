"""Blank lines, packed files, quotes that JSON writes, and files that are no text."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zipfile

import pyarrow as pa
import pytest
from reading import CLASSIFY, PAIRS, both, content_of, fails, records

from tessera.data.beginning import beginning
from tessera.data.settings import DataSettings
from tessera.data.source import Source

TABLE = "text,label\nx,1\ny,2\n"


@pytest.mark.parametrize("blank", ["", " ", " \t ", ",", " , ", '""', '" ",""', "\r", "\u3000"])
@pytest.mark.parametrize("place", [0, 1, 2, 3])
def test_blank_rows_of_csv_say_nothing(blank, place):
    lines = TABLE.splitlines()
    lines.insert(place, blank)
    found = records({"a": "\n".join(lines) + "\n"}, format="csv")
    assert [row["text"] for _, row in sorted(found.items())] == ["x", "y"]
    end = records({"a": f"{TABLE}{blank}"}, format="csv")
    assert len(end) == 2


@pytest.mark.parametrize("blank", ["", " ", "\t", " \t\t ", "\r"])
def test_blank_rows_of_tsv_say_nothing(blank):
    lines = TABLE.replace(",", "\t").splitlines()
    lines.insert(2, blank)
    assert len(records({"a": "\n".join(lines)}, format="tsv")) == 2


def test_blank_rows_before_data_without_a_header():
    found = records(
        {"a": " \n\nx,1\ny,2\n , \n"},
        format="csv",
        header=False,
        columns={"text": "0", "label": "1"},
    )
    assert set(found) == {"a:3", "a:4"}


def test_a_row_with_one_blank_cell_says_something():
    fails("DATA_VALUE", "data.columns.label", {"a": TABLE + "z, \n"}, format="csv")


def test_lines_that_are_blank_on_both_sides_say_nothing():
    urls, blobs = content_of({"a": "one\n\n \ntwo\n \n", "b": "eins\n \n\nzwei\n\n"})
    data = DataSettings(files=urls[:1], target_files=urls[1:], format="parallel")
    assert {r.place for r in both(data, PAIRS, blobs)} == {"a:1", "a:4"}
    fails(
        "DATA_VALUE",
        "data.columns.target",
        urls[:1],
        PAIRS,
        content_of({"a": "one\ntwo\n", "b": "eins\n\n"})[1],
        target_files=urls[1:],
        format="parallel",
    )


@pytest.mark.parametrize(
    "line", [r'"say \"hi\" now",1', r'"a\"b",1', r'x,"he said \"no"', r'"ends with \""x,1']
)
def test_quotes_as_json_writes_them(line):
    message = fails("DATA_BROKEN_LINE", "data.files", {"a": f"{TABLE}{line}\n"}, format="csv")
    assert "a:4: not CSV" in message
    assert 'a quote inside quotes is written twice there ("")' in message


def test_other_broken_quotes_are_not_about_backslashes():
    message = fails("DATA_BROKEN_LINE", "data.files", {"a": f'{TABLE}"x"y,1\n'}, format="csv")
    assert "backslash" not in message


def zstd(data):
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(data)
    return sink.getvalue().to_pybytes()


PACKERS = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress, ".zst": zstd}


@pytest.mark.parametrize("name", ["a{}", "a.csv", "a.CSV{}", "b"])
@pytest.mark.parametrize("packing", PACKERS)
def test_packed_files_are_told_by_their_content_too(packing, name):
    content = PACKERS[packing](TABLE.encode())
    assert len(records({name.format(packing): content}, format="csv")) == 2


def test_text_that_only_begins_like_a_packed_file():
    found = records(
        {"a": "BZh is,how\nx,1\ny,2\n"}, format="csv", columns={"text": "how", "label": "BZh is"}
    )
    assert len(found) == 2


def zipped():
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("a.csv", TABLE)
    return out.getvalue()


NO_TEXT = {
    "a zip archive, as spreadsheets are": zipped(),
    "iconv -f utf-16": TABLE.encode("utf-16"),
    "a PDF": b"%PDF-1.7\n...",
    "an Arrow file": b"ARROW1\0\0...",
    "byte 2 is zero": b"ab\0c",
    "2: byte 11 (0xe9) is not UTF-8": "text,label\né,1\n".encode("latin-1"),
}


@pytest.mark.parametrize("said", NO_TEXT)
def test_files_that_are_no_text(said):
    content = NO_TEXT[said]
    assert said in fails("DATA_NOT_TEXT", "data.files", {"a.csv": content}, CLASSIFY, format="csv")


@pytest.mark.parametrize("suffix", ["", ".gz", ".bz2", ".xz", ".zst"])
def test_beginnings_are_whole_lines(suffix, tmp_path):
    content = "".join(f"line {i}\n" for i in range(10_000)).encode()
    pack = {**PACKERS, "": bytes}[suffix]
    path = tmp_path / f"a.txt{suffix}"
    path.write_bytes(pack(content))
    source = Source(name=path.name, url=str(path), field="f", open=path.read_bytes)
    part = beginning(source, path, 1000)
    assert content.startswith(part.content)
    assert part.content.endswith(b"\n")
    assert 990 <= len(part.content) <= 1000
    assert not part.whole
    whole = beginning(source, path, len(content))
    assert (whole.content, whole.whole, whole.packing) == (content, True, suffix)


@pytest.mark.parametrize("mark", [";", "|", "\t", "~", "§"])
def test_cells_may_be_delimited_otherwise(mark):
    content = TABLE.replace(",", mark) + f'"a {mark} b"{mark}1\n'
    found = records({"a": content}, format="csv", delimiter=mark)
    assert found["a:4"] == {"text": f"a {mark} b", "label": "1"}


def test_patterns_that_match_one_file(tmp_path):
    (tmp_path / "a.csv").write_text(TABLE)
    (tmp_path / "b.csv").write_text(TABLE)
    for files in (("*.csv", "a.csv"), ("[ab].csv", "*b.csv")):
        urls = tuple(f"file://{tmp_path}/{name}" for name in files)
        message = fails("FILE_NAMED_TWICE", "data.files", urls, read_blob={}, format="csv")
        assert "is named twice; name each file once" in message
