"""Records of every format, their columns and values, and which of them are held out."""

from __future__ import annotations

import csv
import gzip
import io
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reading import CLASSIFY, PAIRS, ROWS, TAGS, both, content_of, fails, in_parquet, jsonl, records

from tessera import errors
from tessera.data.record import Roles
from tessera.data.settings import DataSettings
from tessera.trainer.data.read import read, read_texts

BOTH = Roles(required=("text", "text_pair"))
TEXT = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1
).filter(str.strip)


def written(rows, delimiter=","):
    out = io.StringIO()
    csv.writer(out, delimiter=delimiter).writerows(rows)
    return out.getvalue()


def test_every_format_gives_the_same_records():
    made = {
        "jsonl": jsonl(*ROWS).replace("\n", "\r\n"),
        "csv": written([["text", "label"], *([r["text"], r["label"]] for r in ROWS)]),
        "parquet": in_parquet(ROWS),
    }
    places = {"csv": (2, 3, 4), "jsonl": (1, 2, 3), "parquet": (1, 2, 3)}
    for kind, content in made.items():
        found = records({f"a.{kind}": content}, format=kind)
        assert found == dict(zip((f"a.{kind}:{n}" for n in places[kind]), ROWS, strict=True))
        data = content if isinstance(content, bytes) else b"\xef\xbb\xbf" + content.encode()
        packed = records({"a.gz": gzip.compress(data)}, format=kind)
        assert sorted(map(str, packed.values())) == sorted(map(str, ROWS))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(TEXT, TEXT), min_size=2, max_size=8))
def test_what_csv_and_json_lines_write_is_read_back(rows):
    as_json = records(
        {"a": jsonl(*({"text": a, "text_pair": b} for a, b in rows))}, BOTH, format="jsonl"
    )
    as_csv = records({"a": written([["text", "text_pair"], *rows])}, BOTH, format="csv")
    told = [{"text": a, "text_pair": b} for a, b in rows]
    assert sorted(map(str, as_json.values())) == sorted(map(str, told))
    assert sorted(map(str, as_csv.values())) == sorted(map(str, told))


@pytest.mark.parametrize("indent", [None, 2])
def test_an_array_of_objects_is_read_as_lines_of_them_are(indent):
    told = json.dumps(ROWS, indent=indent)
    found = records({"a.json": f"\n {told}\n"}, format="jsonl")
    assert found == {f"a.json:{number}": row for number, row in enumerate(ROWS, 1)}
    packed = gzip.compress(b"\xef\xbb\xbf" + told.encode())
    assert records({"a.json.gz": packed}, format="jsonl") == {
        place.replace(".json", ".json.gz"): row for place, row in found.items()
    }


def test_tsv_knows_no_quotes():
    found = records({"a": 'text\tlabel\n"half\t1\r\n\nb\t2\n'}, format="tsv")
    assert found == {"a:2": {"text": '"half', "label": "1"}, "a:4": {"text": "b", "label": "2"}}
    packed = gzip.compress(b'text\tlabel\r\n"half\t1\r\nb\t2\r\n')
    found = records({"a.tsv.gz": packed}, format="tsv")
    assert found == {
        "a.tsv.gz:2": {"text": '"half', "label": "1"},
        "a.tsv.gz:3": {"text": "b", "label": "2"},
    }


def test_columns_are_named_or_numbered_or_nested():
    told = {"columns": {"text": "1", "label": "0"}, "header": False}
    assert records({"a": "x,one\ny,two\n"}, format="csv", **told)["a:2"] == {
        "text": "two",
        "label": "y",
    }
    roles = Roles(required=("question",), optional=("answer", "answer_start"))
    answered = {"text": ["Paris"], "answer_start": [3]}
    found = records(
        {
            "a": jsonl(
                {"question": "where", "answers": answered},
                {"question": "why", "answers": {"text": [], "answer_start": []}},
            )
        },
        roles,
        format="jsonl",
        columns={"answer": "answers.text.0", "answer_start": "answers.answer_start.0"},
    )
    assert found == {
        "a:1": {"question": "where", "answer": "Paris", "answer_start": 3},
        "a:2": {"question": "why"},
    }


def test_lines_of_text_are_records():
    found = records({"a": "one\r\n\n two\n"}, Roles(required=("text",)), format="text")
    assert found == {"a:1": {"text": "one"}, "a:3": {"text": " two"}}


def test_columns_may_lie_inside_others():
    row = {"translation": {"en": "one", "de": "eins"}}
    columns = {"source": "translation.en", "target": "translation.de"}
    made = {"jsonl": jsonl(row, row), "parquet": in_parquet([row, row])}
    for kind, content in made.items():
        found = records({"a": content}, PAIRS, format=kind, columns=columns)
        assert found["a:2"] == {"source": "one", "target": "eins"}
    message = fails(
        "DATA_COLUMN_MISSING",
        "data.columns.target",
        {"a": made["jsonl"]},
        PAIRS,
        format="jsonl",
        columns=columns | {"target": "translation.fr"},
    )
    assert "a:1: there is no column `translation.fr`" in message


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        (3, "3"),
        (True, "true"),
        (" yes ", "yes"),
        (["a", 2], ("a", "2")),
        ([], ()),
        ("a|b", "a|b"),
    ],
)
def test_labels_are_text(label, expected):
    row = {"text": "x", "label": label}
    assert records({"a": jsonl(row, row)}, format="jsonl")["a:1"]["label"] == expected


def test_cells_hold_lists():
    found = records({"a": "text,label\nx,a | b\ny,|\nz,a\n"}, format="csv")
    assert [row["label"] for _, row in sorted(found.items())] == [("a", "b"), (), "a"]
    found = records({"a": "tokens,tags\nMy name,O B-PER\nx,O\n"}, TAGS, format="csv")
    assert found["a:2"] == {"tokens": ("My", "name"), "tags": ("O", "B-PER")}
    found = records({"a": jsonl(*[{"tokens": ["My name"], "tags": [1]}] * 2)}, TAGS, format="jsonl")
    assert found["a:2"] == {"tokens": ("My name",), "tags": ("1",)}


def test_scores_are_numbers():
    roles = Roles(required=("score",))
    found = records(
        {"a": jsonl({"score": 1}, {"score": 0.5}, {"score": "2.5"})}, roles, format="jsonl"
    )
    assert [row["score"] for _, row in sorted(found.items())] == [1.0, 0.5, 2.5]


def test_columns_of_other_roles_do_not_matter():
    columns = {"text": "body", "mine": "of no interest"}
    found = records(
        {"a": jsonl({"body": "x", "label": 1}, {"body": "y", "label": 2})},
        format="jsonl",
        columns=columns,
    )
    assert found["a:1"] == {"text": "x", "label": "1"}


def test_parallel_text():
    urls, blobs = content_of({"a": "one\ntwo\n", "b": "three", "x": "ein\nzwei", "y": "drei\n"})
    data = DataSettings(files=urls[:2], target_files=urls[2:], format="parallel")
    found = both(data, PAIRS, blobs)
    assert {r.place: tuple(r.values.values()) for r in found} == {
        "a:1": ("one", "ein"),
        "a:2": ("two", "zwei"),
        "b:1": ("three", "drei"),
    }
    crossed = urls[3:1:-1]
    told = {"format": "parallel", "roles": PAIRS, "read_blob": blobs}
    message = fails(
        "DATA_NOT_PARALLEL", "data.target_files", urls[:2], target_files=crossed, **told
    )
    assert "y has 1 lines, but a has 2" in message
    message = fails(
        "DATA_NOT_PARALLEL", "data.target_files", urls[:1], target_files=urls[2:], **told
    )
    assert "there are 2 files here, but 1 in `data.files`" in message
    fails(
        "DATA_NOT_PARALLEL",
        "data.validation_target_files",
        urls[:2],
        target_files=urls[2:],
        validation_files=urls[:1],
        validation_target_files=urls[3:],
        **told,
    )


def test_parallel_text_is_paired_in_the_order_of_its_names(tmp_path):
    written = {"b": ("three", "drei"), "a": ("one\ntwo", "ein\nzwei"), "c": ("four", "vier")}
    for name, sides in written.items():
        for language, content in zip(("en", "de"), sides, strict=True):
            path = tmp_path / language / f"{name}.{language}.gz"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(gzip.compress(content.encode()))
    told = {
        "format": "parallel",
        "files": (f"file://{tmp_path}/en/[ab].en.gz", f"{tmp_path}/en/c*"),
        "target_files": (f"file://{tmp_path}/de/*.gz",),
    }
    found = both(DataSettings(**told), PAIRS, {}.__getitem__)
    assert {r.place.rpartition("/")[2]: tuple(r.values.values()) for r in found} == {
        "a.en.gz:1": ("one", "ein"),
        "a.en.gz:2": ("two", "zwei"),
        "b.en.gz:1": ("three", "drei"),
        "c.en.gz:1": ("four", "vier"),
    }
    (tmp_path / "de" / "d.de.gz").write_bytes(gzip.compress(b"zu viel"))
    with pytest.raises(errors.InvalidArgumentError) as caught:
        read(DataSettings(**told), PAIRS, {}.__getitem__)
    assert caught.value.reason == "DATA_NOT_PARALLEL"
    assert "there are 4 files here, but 3 in `data.files`" in caught.value.message
    (tmp_path / "de" / "d.de.gz").unlink()
    (tmp_path / "de" / "b.de.gz").write_bytes(gzip.compress(b"drei\nvier"))
    told_of = r"b\.de\.gz has 2 lines, but b\.en\.gz has 1"
    with pytest.raises(errors.InvalidArgumentError, match=told_of):
        read(DataSettings(**told), PAIRS, {}.__getitem__)


def test_validation_files_are_held_out():
    urls, blobs = content_of({"a": jsonl(*ROWS), "b": jsonl(*ROWS[:2])})
    data = DataSettings(files=urls[:1], validation_files=urls[1:], format="jsonl", max_bytes=99)
    train, held_out = read(data, CLASSIFY, blobs)
    assert [record.place for record in train] == ["a:1", "a:2", "a:3"]
    assert [record.place for record in held_out] == ["b:1", "b:2"]


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 60), st.floats(0.01, 0.99), st.integers(0, 9))
def test_new_records_move_no_others(count, share, more):
    def held_out(number):
        urls, blobs = content_of({"a": "text\n" + "x\n" * number})
        data = DataSettings(files=urls, format="csv", held_out=share)
        train, apart = read(data, Roles(required=("text",)), blobs)
        assert train
        assert apart
        assert len(train) + len(apart) == number
        return {r.place for r in train}, {r.place for r in apart}

    (train, apart), (later_train, later_apart) = held_out(count), held_out(count + more)
    # But for the one that had to go because its part would have been empty.
    assert len(train - later_train) <= 1
    assert len(apart - later_apart) <= 1


def test_a_limit_takes_the_first_records():
    rows = [{"text": "four", "label": 1}] * 10
    found = records({"a": jsonl(*rows)}, format="jsonl", max_bytes=22)
    assert sorted(found) == ["a:1", "a:2", "a:3", "a:4"]


def test_language_models_read_records_too():
    urls, blobs = content_of({"a": jsonl(*({"body": f"text {i}"} for i in range(9)))})
    data = DataSettings(files=urls, format="jsonl", columns={"text": "body"})
    train, held_out = read_texts(data, blobs)
    assert {text.name: text.content for text in [*train, *held_out]} == {
        f"a:{i + 1}": f"text {i}" for i in range(9)
    }
