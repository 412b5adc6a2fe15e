"""`tessera data`: what files are, and a spec that submits as it stands."""

from __future__ import annotations

import csv
import gzip
import io
import json
import subprocess
import sys

import pyarrow as pa
import pytest
from pyarrow import parquet

from tessera.client.prepare import prepare
from tessera.spec import load

TOPICS = {"1": "The sea was high and grey", "2": "Prices rose again this week"}


def rows(count=30):
    return [
        [f"Title number {i}", f"{TOPICS[label]} on day {i}.", label]
        for i in range(count)
        for label in [str(1 + i % 2)]
    ]


def written(cells, delimiter=","):
    out = io.StringIO()
    csv.writer(out, delimiter=delimiter).writerows(cells)
    return out.getvalue()


def lines(records):
    return "".join(json.dumps(record) + "\n" for record in records)


def table(records):
    out = io.BytesIO()
    parquet.write_table(pa.Table.from_pylist(records), out)
    return out.getvalue()


HEADED = [["title", "body", "class"], *rows()]
RECORDS = [dict(zip(HEADED[0], row, strict=True)) for row in HEADED[1:]]
FILES = {
    "news.csv": (written(rows()), {"text": "{0} {1}", "label": "2"}),
    "headed.csv": (written(HEADED), {"text": "{title} {body}", "label": "class"}),
    "europe.csv": (written(HEADED, ";"), {"text": "{title} {body}", "label": "class"}),
    "news.txt": (written(HEADED, "\t"), {"text": "{title} {body}", "label": "class"}),
    "packed.txt.gz": (
        gzip.compress(written(HEADED, "\t").encode()),
        {"text": "{title} {body}", "label": "class"},
    ),
    "records.json": (json.dumps(RECORDS), {"text": "{title} {body}", "label": "class"}),
    "records.jsonl": (lines(RECORDS), {"text": "{title} {body}", "label": "class"}),
    "table.parquet": (table(RECORDS), {"text": "{title} {body}", "label": "class"}),
    "pairs.jsonl": (
        lines({"premise": f"It is {i}.", "hypothesis": "So.", "label": i % 3} for i in range(9)),
        {"text": "premise", "text_pair": "hypothesis"},
    ),
    "topics.jsonl": (
        lines({"text": f"some words {i}", "topics": ["a", "b"][: i % 3]} for i in range(9)),
        {"label": "topics"},
    ),
    "words.jsonl": (
        lines({"tokens": ["a", "b"], "ner_tags": [0, i % 2]} for i in range(9)),
        {"tags": "ner_tags"},
    ),
    "squad.jsonl": (
        lines(
            {
                "question": "who?",
                "context": f"It was Ann, {i}.",
                "answers": {"text": ["Ann"], "answer_start": [7]},
            }
            for i in range(3)
        ),
        {"answer": "answers.text.0", "answer_start": "answers.answer_start.0"},
    ),
    "opus.jsonl": (
        lines({"translation": {"en": f"one {i}", "de": f"eins {i}"}} for i in range(9)),
        {"source": "translation.en", "target": "translation.de"},
    ),
    "similar.tsv": (
        "sentence1\tsentence2\tscore\n" + "a b\tc d\t0.25\nx y\tz w\t1\ne f\tg h\t0\n",
        {"text": "sentence1", "text_pair": "sentence2"},
    ),
    "prose.jsonl": (
        lines({"content": f"Some words, {i}.", "id": i} for i in range(9)),
        {"text": "content"},
    ),
    "prose.txt": ("It rained, and it rained.\nThen it stopped.\n" * 9, {}),
}
TASKS = {
    "pairs.jsonl": "classification",
    "words.jsonl": "token_classification",
    "squad.jsonl": "question_answering",
    "opus.jsonl": "translation",
    "similar.tsv": "sentence_embedding",
    "prose.jsonl": "language_modeling",
    "prose.txt": "language_modeling",
}


@pytest.fixture
def put(tmp_path):
    def put(name, content):
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())

    return put


@pytest.mark.parametrize("name", FILES)
def test_what_is_written_submits_as_it_stands(name, tessera, put, tmp_path):
    content, columns = FILES[name]
    put(name, content)
    (tmp_path / "jobs").mkdir()
    done = tessera("data", name, "--write", "jobs/job.yaml")
    assert done.code == 0, done.err
    spec = load(tmp_path / "jobs" / "job.yaml")
    assert dict(spec.data.columns) == columns
    assert spec.task.kind == TASKS.get(name, "classification")
    assert list(spec.data.files) == [f"../{name}"]
    found = prepare(spec, tmp_path / "jobs")
    assert found.data.examples > 0
    assert found.data.skipped == ""
    assert tessera("submit", "jobs/job.yaml", "--dry-run").code == 0


def test_what_is_shown(tessera, put):
    put("news.csv", written(rows()))
    done = tessera("data", "news.csv")
    assert done.code == 0
    assert "news.csv: csv, UTF-8, cells between commas, no header" in done.out
    assert "30 rows, 3 columns" in done.out
    assert "Title number 0" in done.out
    assert "whole number" in done.out
    assert "50.0%" in done.out
    assert "header: false" in done.out
    assert "labels: [name of 1, name of 2]" in done.out
    put("p.csv.gz", gzip.compress("\ufefftext;label\nx y;a\nz y;b\n".encode()))
    done = tessera("data", "p.csv.gz")
    assert "packed by gzip, UTF-8 with a byte order mark, cells between semicolons" in done.out
    assert "first line names the columns" in done.out


def test_what_machines_are_told(tessera, put):
    put("news.csv", written(rows()))
    told = tessera("data", "news.csv", "--output", "json").json
    (file,) = told["files"]
    assert (file["format"], file["delimiter"], file["header"]) == ("csv", ",", False)
    assert told["rows"] == 30
    label = told["columns"][2]
    assert (label["name"], label["type"], label["classes"]) == (
        "2",
        "whole number",
        {"1": 15, "2": 15},
    )
    assert told["columns"][0]["characters"] == [14, 15, 15]
    assert told["sample"][0] == rows()[0]
    assert told["spec"]["data"]["header"] is False


def test_classes_that_do_not_count_are_named_one_by_one(tessera, put):
    put(
        "a.csv",
        written([["text", "label"], *([f"some words {i}", 10 * (i % 2)] for i in range(9))]),
    )
    assert 'label_names: {"0": name of 0, "10": name of 10}' in tessera("data", "a.csv").out
    put(
        "b.csv",
        written(
            [["text", "label"], *([f"some words {i}", ["no", "yes"][i % 2]] for i in range(9))]
        ),
    )
    assert "The classes are numbers" not in tessera("data", "b.csv").out


def test_several_files_are_one(tessera, put, tmp_path):
    put("a.csv", written(HEADED))
    put("b.csv", written(HEADED))
    done = tessera("data", "*.csv", "--write", "job.yaml")
    assert "60 rows" in done.out
    assert list(load(tmp_path / "job.yaml").data.files) == ["a.csv", "b.csv"]
    put("c.csv", written(HEADED, ";"))
    done = tessera("data", "*.csv")
    assert (done.code, "files that are trained on together are of one form" in done.err) == (
        2,
        True,
    )
    done = tessera("data", "a.csv", "a.csv")
    assert (done.code, "name each file once" in done.err or "name it once" in done.err) == (2, True)


def test_what_a_worker_would_say_is_said(tessera, put, tmp_path):
    put("a.csv", written([*HEADED, ["Title", "A body of it", ""]]))
    done = tessera("data", "a.csv", "--write", "job.yaml")
    assert done.code == 2
    assert "a.csv:32: the label is empty" in done.err
    assert not (tmp_path / "job.yaml").exists()


MISTAKES = {
    "no file": ("nope.csv", None, "there is no file `nope.csv`"),
    "a URL": ("s3://bucket/a.csv", None, "does not lie on this machine"),
    "nothing in it": ("a.csv", "", "there is nothing in a.csv"),
    "a spreadsheet": ("a.csv", b"PK\x03\x04....", "save it as CSV"),
    "UTF-16": ("a.csv", "text,label".encode("utf-16"), "iconv -f utf-16 -t utf-8"),
    "half a file": ("a.gz", gzip.compress(b"text" * 99)[:-4], "cannot be read"),
    "a broken line": ("a.jsonl", '{"a": 1}\n{"a"\n', "a.jsonl:2: not JSON"),
}


@pytest.mark.parametrize("kind", MISTAKES)
def test_mistakes(kind, tessera, put):
    name, content, said = MISTAKES[kind]
    if content is not None:
        put(name, content)
    done = tessera("data", name)
    assert done.code == 2, done.out
    assert said in done.err
    assert len(done.err.splitlines()) == 1


def test_a_file_is_not_written_over(tessera, put, tmp_path):
    put("a.csv", written(HEADED))
    put("job.yaml", "mine")
    done = tessera("data", "a.csv", "--write", "job.yaml")
    assert (done.code, "--force" in done.err) == (2, True)
    assert (tmp_path / "job.yaml").read_text() == "mine"
    assert tessera("data", "a.csv", "--write", "job.yaml", "--force").code == 0
    assert load(tmp_path / "job.yaml").name == "a"
    assert tessera("data", "a.csv", "--write", "none/job.yaml").code == 2


def test_columns_that_are_for_no_task(tessera, put):
    put("numbers.csv", "a,b\n0.5,1.25\n0.75,2.5\n")
    done = tessera("data", "numbers.csv")
    assert done.code == 0
    assert "No task is known for such columns" in done.out


def test_odd_names_of_files(tessera, put, tmp_path):
    put("Über [1] news.csv", written(HEADED))
    assert tessera("data", "Über [[]1] news.csv", "--write", "job.yaml").code == 0
    spec = load(tmp_path / "job.yaml")
    assert spec.name == "ber-1-news"
    assert tessera("submit", "job.yaml", "--dry-run").code == 0


LIGHT = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in "torch ray fsspec pyarrow datasets tokenizers".split():
            raise ImportError(name)

sys.meta_path.insert(0, Blocker())
from tessera.cli.app import run
sys.exit(run(sys.argv[1:]))
"""


def light(folder, *arguments):
    return subprocess.run(
        [sys.executable, "-c", LIGHT, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.processes
def test_a_light_client_is_enough(put, tmp_path):
    put("a.csv", written(HEADED))
    done = light(tmp_path, "data", "a.csv", "--write", "job.yaml")
    assert done.returncode == 0, done.stderr
    done = light(tmp_path, "--home", "none", "submit", "job.yaml", "--dry-run")
    assert done.returncode == 0, done.stderr
    put("a.parquet", table(RECORDS))
    done = light(tmp_path, "data", "a.parquet")
    assert done.returncode == 2
    assert done.stderr.strip().endswith("pip install 'tessera[parquet]'")
