"""Local data is read before anything is sent: what a worker would fail with is said at once."""

from __future__ import annotations

import gzip
import json

import pytest

from tessera import errors
from tessera.client import data_check
from tessera.client.prepare import prepare
from tessera.spec.document import parse_document

CLASSES = "model: {family: bert}\ntask: {kind: classification}\n"
TABLE = "text,label\nrain,1\nsun,2\nfog,1\n"


@pytest.fixture
def prepared(tmp_path):
    """Writes files and prepares a spec about them."""

    def run(spec, files):
        for name, content in files.items():
            path = tmp_path / name
            path.parent.mkdir(exist_ok=True, parents=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        document = parse_document(f"name: a\n{spec}", "job.yaml", tmp_path)
        try:
            return prepare(document.spec, tmp_path)
        except errors.TesseraError as error:
            raise document.locate(error) from None

    return run


@pytest.fixture
def fails(prepared):
    def run(spec, files, reason):
        with pytest.raises(errors.InvalidArgumentError) as caught:
            prepared(spec, files)
        assert caught.value.reason == reason, caught.value.message
        return caught.value.message

    return run


def test_what_is_there_is_counted(prepared):
    found = prepared(f"{CLASSES}data: {{files: ['*.csv']}}\n", {"a.csv": TABLE, "b.csv": TABLE})
    assert (found.data.examples, dict(found.data.classes)) == (6, {"1": 4, "2": 2})
    assert found.data.skipped == ""
    assert len(found.files) == 2
    named = "task: {kind: classification, labels: [wet, dry]}\n"
    found = prepared(
        f"model: {{family: bert}}\n{named}data: {{files: [a.csv]}}\n", {"a.csv": TABLE}
    )
    assert dict(found.data.classes) == {"wet": 2, "dry": 1}
    found = prepared(
        "model: {family: gpt}\ndata: {files: ['*.txt']}\n", {"a.txt": "x", "b.txt": "y"}
    )
    assert (found.data.examples, dict(found.data.classes)) == (2, {})


FAILING = {
    "no header": (
        "data: {files: [a.csv]}",
        {"a.csv": "It rained all day long.,3\nThe sun.,2\nFog.,3\n"},
        "DATA_COLUMN_MISSING",
        ["job.yaml:4:7: data.columns.text: a.csv:2:", "set `data.header: false`"],
    ),
    "a header after all": (
        "data: {files: [a.csv], header: false, columns: {text: review, label: stars}}",
        {"a.csv": "review,stars\ngood,5\nbad,1\n"},
        "DATA_COLUMN_MISSING",
        ["job.yaml:4:48: data.columns.text: ", "set `data.header: true`"],
    ),
    "semicolons": (
        "data: {files: [a.csv]}",
        {"a.csv": TABLE.replace(",", ";")},
        "DATA_COLUMN_MISSING",
        ["set `data.delimiter: ';'`"],
    ),
    "another column": (
        "data: {files: [a.csv]}",
        {"a.csv": TABLE.replace("text", "tekst")},
        "DATA_COLUMN_MISSING",
        ["there is no column `text`", "perhaps `tekst`", "`data.columns.text`"],
    ),
    "a column that is joined": (
        "data: {files: [a.csv], columns: {text: '{text} {more}'}}",
        {"a.csv": TABLE},
        "DATA_COLUMN_MISSING",
        ["there is no column `more`"],
    ),
    "no label": (
        "data: {files: [a.csv]}",
        {"a.csv": f"{TABLE}snow,\n"},
        "DATA_VALUE",
        ["a.csv:5: the label is empty"],
    ),
    "one class": (
        "data: {files: [a.csv]}",
        {"a.csv": "text,label\nrain,1\nsun,1\n"},
        "DATA_ONE_LABEL",
        ["one class, `1`"],
    ),
    "a class that is not named": (
        "data: {files: [a.csv], label_names: {1: wet}}",
        {"a.csv": TABLE},
        "DATA_UNKNOWN_LABEL",
        ["data.label_names: a.csv:3: the class `2` has no name"],
    ),
    "a class of the validation files alone": (
        "data: {files: [a.csv], validation_files: [b.csv]}",
        {"a.csv": TABLE, "b.csv": "text,label\nhail,3\n"},
        "DATA_UNKNOWN_LABEL",
        ["b.csv:2: there is no class `3`"],
    ),
    "several classes": (
        "data: {files: [a.csv]}",
        {"a.csv": f"{TABLE}snow,1|2\n"},
        "DATA_SEVERAL_LABELS",
        ["a.csv:5: 2 classes where one is needed"],
    ),
    "nothing": ("data: {files: [a.csv]}", {"a.csv": "\n"}, "DATA_EMPTY", ["nothing in a.csv"]),
    "a header and nothing": (
        "data: {files: [a.csv]}",
        {"a.csv": "text,label\n"},
        "DATA_EMPTY",
        ["nothing in a.csv"],
    ),
    "one row": (
        "data: {files: [a.csv]}",
        {"a.csv": "text,label\nx,1\n"},
        "DATA_EMPTY_SPLIT",
        ["a single record"],
    ),
    "nothing to evaluate on": (
        "data: {files: [a.csv], validation_files: [b.csv]}",
        {"a.csv": TABLE, "b.csv": "text,label\n , \n"},
        "DATA_EMPTY_SPLIT",
        ["nothing in b.csv"],
    ),
    "Latin-1": (
        "data: {files: [a.csv]}",
        {"a.csv": "text,label\né,1\n".encode("latin-1")},
        "DATA_NOT_TEXT",
        ["a.csv:2:", "iconv"],
    ),
    "half a file": (
        "data: {files: [a.csv.gz]}",
        {"a.csv.gz": gzip.compress(TABLE.encode())[:-9]},
        "DATA_UNREADABLE",
        ["cannot be decompressed"],
    ),
    "no Parquet": (
        "data: {files: [a.parquet]}",
        {"a.parquet": TABLE},
        "DATA_UNREADABLE",
        ["is no Parquet file", "set `data.format: csv`"],
    ),
    "broken JSON": (
        "data: {files: [a.jsonl]}",
        {"a.jsonl": '{"text": "x", "label": 1}\n{"text": "y"\n'},
        "DATA_BROKEN_LINE",
        ["a.jsonl:2: not JSON"],
    ),
    "tabs in a packed file": (
        "data: {files: [a.txt.gz]}",
        {"a.txt.gz": gzip.compress(TABLE.replace(",", "\t").encode())},
        "FORMAT_NOT_FOR_TASK",
        ["job.yaml:4:7: data.format: ", "a.txt.gz looks like tsv: set `data.format: tsv`"],
    ),
    "JSON by another name": (
        "data: {files: ['*.data']}",
        {"a.data": '{"text": "x", "label": 1}\n{"text": "y", "label": 2}\n'},
        "FORMAT_NOT_FOR_TASK",
        ["a.data looks like jsonl: set `data.format: jsonl`"],
    ),
    "twice by a glob": (
        "data: {files: [a.csv, '*.csv']}",
        {"a.csv": TABLE, "b.csv": TABLE},
        "FILE_NAMED_TWICE",
        ["job.yaml:4:23: data.files[1]: ", "data.files[0]"],
    ),
    "twice by two ways": (
        "data: {files: [a.csv, './inner/../a.csv']}",
        {"a.csv": TABLE, "inner/b.csv": TABLE},
        "FILE_NAMED_TWICE",
        ["data.files[1]"],
    ),
    "learned and evaluated on": (
        "data: {files: [a.csv], validation_files: ['*.csv']}",
        {"a.csv": TABLE, "b.csv": TABLE},
        "FILE_NAMED_TWICE",
        ["data.validation_files[0]", "data.files[0]"],
    ),
}


@pytest.mark.parametrize("kind", FAILING)
def test_what_a_worker_would_fail_with(kind, fails):
    spec, files, reason, said = FAILING[kind]
    message = fails(f"{CLASSES}{spec}\n", files, reason)
    for words in said:
        assert words in message


def test_a_header_that_is_read_as_data_is_told(prepared):
    files = {"a.csv": "review,stars\ngood,5\nbad,1\n", "b.csv": "3,good film\n2,bad film\n"}
    spec = f"{CLASSES}data: {{files: [a.csv], header: false, columns: {{text: '0', label: '1'}}}}\n"
    (note,) = prepared(spec, files).data.notes
    assert "a.csv: its first line looks like names of columns" in note
    assert "set `data.header: true`" in note
    spec = spec.replace("text: '0', label: '1'", "text: '1', label: '0'").replace("a.csv", "b.csv")
    assert prepared(spec, files).data.notes == ()


def test_a_link_is_the_file_that_it_leads_to(fails, tmp_path):
    (tmp_path / "a.csv").write_text(TABLE)
    (tmp_path / "b.csv").symlink_to("a.csv")
    fails(f"{CLASSES}data: {{files: ['*.csv']}}\n", {}, "FILE_NAMED_TWICE")


def test_copies_are_files_of_their_own(prepared):
    files = {"a/x.csv": TABLE, "b/x.csv": TABLE}
    found = prepared(f"{CLASSES}data: {{files: [a/x.csv, b/x.csv]}}\n", files)
    assert found.data.examples == 6


OTHERS = {
    "tags of other words": (
        "model: {family: bert}\ntask: {kind: token_classification}\ndata: {files: [a.jsonl]}\n",
        [{"tokens": ["a", "b"], "tags": ["O"]}],
        "DATA_VALUE",
    ),
    "an answer from elsewhere": (
        "model: {family: bert}\ntask: {kind: question_answering}\ndata: {files: [a.jsonl]}\n",
        [{"question": "q", "context": "c", "answer": "x"}] * 2,
        "DATA_ANSWER_NOT_IN_CONTEXT",
    ),
    "no answer at all": (
        "model: {family: bert}\ntask: {kind: question_answering}\ndata: {files: [a.jsonl]}\n",
        [{"question": "q", "context": "c"}] * 2,
        "DATA_NO_ANSWER",
    ),
    "a score out of bounds": (
        "model: {family: bert}\ntask: {kind: sentence_embedding}\ndata: {files: [a.jsonl]}\n",
        [{"text": "a", "text_pair": "b", "score": 4.5}] * 2,
        "DATA_SCORE",
    ),
    "one score for all": (
        "model: {family: bert}\ntask: {kind: regression}\ndata: {files: [a.jsonl]}\n",
        [{"text": "a", "score": 4.5}] * 2,
        "DATA_SCORE",
    ),
    "a score that is no number": (
        "model: {family: bert}\ntask: {kind: regression}\ndata: {files: [a.jsonl]}\n",
        [{"text": "a", "score": 1}, {"text": "a", "score": "high"}],
        "DATA_VALUE",
    ),
    "a source without a target": (
        "model: {family: transformer}\ndata: {files: [a.jsonl]}\n",
        [{"source": "a", "target": "b"}, {"source": "a"}],
        "DATA_COLUMN_MISSING",
    ),
    "a text of several kinds": (
        "model: {family: gpt}\ndata: {files: [a.jsonl]}\n",
        [{"text": "a"}, {"text": 5}],
        "DATA_VALUE",
    ),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_every_task_is_checked(kind, fails):
    spec, rows, reason = OTHERS[kind]
    fails(spec, {"a.jsonl": "".join(json.dumps(row) + "\n" for row in rows)}, reason)


def test_sides_of_parallel_text(prepared, fails):
    spec = "model: {family: transformer}\ndata: {files: [a.en, b.en], target_files: [a.de, b.de]}\n"
    files = {"a.en": "one\n", "a.de": "eins\n", "b.en": "two\n", "b.de": "zwei\n"}
    assert prepared(spec, files).data.examples == 2
    fails(spec, files | {"b.de": "zwei\ndrei\n"}, "DATA_NOT_PARALLEL")
    # One source with two translations.
    twice = (
        "model: {family: transformer}\ndata: {files: [a.en, a.en], target_files: [a.de, b.de]}\n"
    )
    assert prepared(twice, files | {"b.de": "ein\n"}).data.examples == 2


def test_large_data_is_looked_at(prepared, fails, monkeypatch):
    monkeypatch.setattr(data_check, "MAX_BYTES", 10_000)
    monkeypatch.setattr(data_check, "_BEGINNING", 2_000)
    rows = "".join(f'"rain\n{i}",{i % 3}\n' for i in range(2_000))
    spec = f"{CLASSES}data: {{files: [a.csv]}}\n"
    assert "only its beginning" in prepared(spec, {"a.csv": f"text,label\n{rows}"}).data.skipped
    fails(spec, {"a.csv": f"text,class\n{rows}"}, "DATA_COLUMN_MISSING")
    fails(spec, {"a.csv": f"text,label\nx\n{rows}"}, "DATA_BROKEN_LINE")
    packed = gzip.compress(f"text,lebel\n{rows}".encode(), 0)
    packed_spec = f"{CLASSES}data: {{files: [b.csv.gz]}}\n"
    fails(packed_spec, {"b.csv.gz": packed}, "DATA_COLUMN_MISSING")
    array = json.dumps([{"text": "x", "label": i % 3} for i in range(2_000)])
    assert prepared(f"{CLASSES}data: {{files: [a.json]}}\n", {"a.json": array}).data.skipped


def test_what_lies_elsewhere_is_left_to_the_workers(prepared, fails):
    spec = f"{CLASSES}data: {{files: [a.csv, 's3://bucket/b.csv']}}\n"
    assert "only the workers can read" in prepared(spec, {"a.csv": TABLE}).data.skipped
    fails(spec, {"a.csv": "text,label\nx\n"}, "DATA_BROKEN_LINE")
    spec = f"{CLASSES}data: {{files: ['dataset://a/b']}}\n"
    assert "only the workers can read" in prepared(spec, {}).data.skipped


def test_the_classes_of_a_version_are_the_platform_s(prepared):
    spec = "model: {family: bert, init: {from: stars}}\ntask: {kind: classification}\n"
    found = prepared(f"{spec}data: {{files: [a.csv]}}\n", {"a.csv": TABLE})
    assert (found.data.examples, dict(found.data.classes)) == (3, {})


def test_parquet_without_its_library_is_left_to_the_workers(prepared, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    found = prepared(f"{CLASSES}data: {{files: [a.parquet]}}\n", {"a.parquet": b"PAR1"})
    assert "pip install 'tessera[parquet]'" in found.data.skipped
