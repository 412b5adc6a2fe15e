"""The same data is the same in every format: classes, their order, their numbers, and samples."""

from __future__ import annotations

import csv
import io
import json

import datasets
import pyarrow as pa
import pytest
from pyarrow import parquet
from reading import CLASSIFY, TAGS, jsonl

from tessera.data.labels import find_classes, label_ids
from tessera.data.settings import DataSettings
from tessera.trainer.data.read import read

NAMES = ["weather", "arts", "money"]
TEXTS = ["rain, at last", 'a "new" play', "rates rise", "snow", "a film", "fog"]
NUMBERS = [0, 1, 2, 0, 1, 0]
NAMED = [{"text": text, "label": NAMES[n]} for text, n in zip(TEXTS, NUMBERS, strict=True)]
NUMBERED = [{"text": text, "label": n} for text, n in zip(TEXTS, NUMBERS, strict=True)]


def delimited(rows, mark):
    out = io.StringIO()
    writer = csv.writer(out, delimiter=mark, quoting=csv.QUOTE_MINIMAL)
    if mark == "\t":
        lines = [rows[0], *(row.values() for row in rows)]
        return "".join("\t".join(map(str, cells)) + "\n" for cells in lines)
    writer.writerow(rows[0])
    writer.writerows(row.values() for row in rows)
    return out.getvalue()


def table(columns, metadata=None):
    out = io.BytesIO()
    made = pa.table(columns)
    if metadata:
        made = made.replace_schema_metadata(metadata)
    parquet.write_table(made, out)
    return out.getvalue()


def class_labels(feature):
    told = {"info": {"features": {"text": {"dtype": "string", "_type": "Value"}, "label": feature}}}
    return {"huggingface": json.dumps(told)}


def dataset_folder(folder):
    features = datasets.Features(
        text=datasets.Value("string"), label=datasets.ClassLabel(names=NAMES)
    )
    rows = {"text": TEXTS, "label": NUMBERS}
    datasets.Dataset.from_dict(rows, features=features).save_to_disk(folder / "saved")
    return f"dataset://{folder}/saved"


def hub_parquet(folder):
    """What `datasets` itself writes."""
    features = datasets.Features(
        text=datasets.Value("string"), label=datasets.ClassLabel(names=NAMES)
    )
    rows = {"text": TEXTS, "label": NUMBERS}
    datasets.Dataset.from_dict(rows, features=features).to_parquet(folder / "hub.parquet")
    return (folder / "hub.parquet").read_bytes()


def strings(rows):
    return [str(row["label"]) for row in rows]


MADE = {
    "json lines": lambda _: ("jsonl", jsonl(*NAMED)),
    "an array": lambda _: ("jsonl", json.dumps(NAMED)),
    "csv": lambda _: ("csv", delimited(NAMED, ",")),
    "tsv": lambda _: ("tsv", delimited(NAMED, "\t")),
    "parquet": lambda _: ("parquet", table({"text": TEXTS, "label": strings(NAMED)})),
    "parquet of categories": lambda _: (
        "parquet",
        table({"text": TEXTS, "label": pa.array(strings(NAMED)).dictionary_encode()}),
    ),
    "parquet with names": lambda _: (
        "parquet",
        table(
            {"text": TEXTS, "label": pa.array(NUMBERS, pa.int64())},
            class_labels({"names": NAMES, "_type": "ClassLabel"}),
        ),
    ),
    "parquet of datasets": lambda folder: ("parquet", hub_parquet(folder)),
    "data set": lambda folder: ("dataset", dataset_folder(folder)),
}
UNNAMED = {
    "json lines": ("jsonl", jsonl(*NUMBERED)),
    "texts in json": ("jsonl", jsonl(*({**row, "label": str(row["label"])} for row in NUMBERED))),
    "csv": ("csv", delimited(NUMBERED, ",")),
    "tsv": ("tsv", delimited(NUMBERED, "\t")),
    "parquet": ("parquet", table({"text": TEXTS, "label": pa.array(NUMBERS, pa.int8())})),
    "parquet of categories": (
        "parquet",
        table({"text": TEXTS, "label": pa.array(NUMBERS).dictionary_encode()}),
    ),
    "parquet of texts": ("parquet", table({"text": TEXTS, "label": [str(n) for n in NUMBERS]})),
}
TRUTHS = [True, False, True, False, True, True]
TRUE = {
    "json lines": (
        "jsonl",
        jsonl(*({"text": t, "label": v} for t, v in zip(TEXTS, TRUTHS, strict=True))),
    ),
    "csv of pandas": (
        "csv",
        delimited([{"text": t, "label": v} for t, v in zip(TEXTS, TRUTHS, strict=True)], ","),
    ),
    "csv of R": (
        "csv",
        delimited(
            [{"text": t, "label": str(v).upper()} for t, v in zip(TEXTS, TRUTHS, strict=True)], ","
        ),
    ),
    "parquet": ("parquet", table({"text": TEXTS, "label": TRUTHS})),
}


def seen(form, content, **told):
    """Class names, and the text of every record with the number of its class."""
    labels = told.pop("labels", ())
    if form == "dataset":
        files, blobs = (content,), {}
    else:
        files = (f"blob://x/data.{form}",)
        blobs = {"x": content if isinstance(content, bytes) else content.encode()}
    data = DataSettings(files=files, format=form, **told)
    records = [record for part in read(data, CLASSIFY, blobs.__getitem__) for record in part]
    found = find_classes(records, "label", labels)
    samples = {(r.values["text"], *label_ids(r, "label", found.numbers)) for r in records}
    return found.names, samples


SORTED = ("arts", "money", "weather")
BY_NAME = {(text, SORTED.index(NAMES[n])) for text, n in zip(TEXTS, NUMBERS, strict=True)}
BY_PLACE = set(zip(TEXTS, NUMBERS, strict=True))


@pytest.mark.parametrize("kind", MADE)
def test_named_classes(kind, tmp_path):
    form, content = MADE[kind](tmp_path)
    assert seen(form, content) == (SORTED, BY_NAME)
    assert seen(form, content, labels=NAMES) == (tuple(NAMES), BY_PLACE)


@pytest.mark.parametrize("kind", UNNAMED)
def test_numbered_classes(kind):
    form, content = UNNAMED[kind]
    assert seen(form, content) == (("0", "1", "2"), BY_PLACE)
    assert seen(form, content, labels=NAMES) == (tuple(NAMES), BY_PLACE)
    names = {str(number): name for number, name in enumerate(NAMES)}
    assert seen(form, content, label_names=names) == (SORTED, BY_NAME)


@pytest.mark.parametrize("kind", TRUE)
def test_true_and_false(kind):
    form, content = TRUE[kind]
    assert seen(form, content) == (
        ("false", "true"),
        {(text, int(truth)) for text, truth in zip(TEXTS, TRUTHS, strict=True)},
    )


def test_ratings_with_a_point():
    rows = [{"text": text, "label": n + 0.5} for text, n in zip(TEXTS, NUMBERS, strict=True)]
    made = {
        "jsonl": jsonl(*rows),
        "csv": delimited(rows, ","),
        "parquet": table({"text": TEXTS, "label": [row["label"] for row in rows]}),
    }
    assert len({str(sorted(seen(form, content)[1])) for form, content in made.items()}) == 1
    assert seen("csv", made["csv"])[0] == ("0.5", "1.5", "2.5")


@pytest.mark.parametrize(
    "feature",
    [
        {"feature": {"names": ["O", "B"], "_type": "ClassLabel"}, "_type": "Sequence"},
        {"feature": {"names": ["O", "B"], "_type": "ClassLabel"}, "_type": "List"},
        [{"names": ["O", "B"], "_type": "ClassLabel"}],
    ],
)
def test_names_of_the_tags_of_words(feature):
    told = {"info": {"features": {"tags": feature}}}
    content = table(
        {"tokens": [["a", "b"], ["c"]], "tags": [[0, 1], [1]]}, {"huggingface": json.dumps(told)}
    )
    data = DataSettings(files=("blob://x/a",), format="parquet")
    records = [r for part in read(data, TAGS, {"x": content}.__getitem__) for r in part]
    assert {r.values["tags"] for r in records} == {("O", "B"), ("B",)}


@pytest.mark.parametrize(
    "metadata",
    [
        {"huggingface": "not json"},
        {"huggingface": "[]"},
        {"huggingface": json.dumps({"info": None})},
        {"pandas": "{}"},
        class_labels({"dtype": "int64", "_type": "Value"}),
        class_labels(None),
    ],
)
def test_other_metadata_says_nothing(metadata):
    content = table({"text": TEXTS, "label": NUMBERS}, metadata)
    assert seen("parquet", content)[0] == ("0", "1", "2")


def test_a_class_without_a_number_is_no_class():
    content = table(
        {"text": ["a", "b"], "label": [-1, 0]},
        class_labels({"names": NAMES, "_type": "ClassLabel"}),
    )
    data = DataSettings(files=("blob://x/a",), format="parquet")
    with pytest.raises(Exception, match="the label is empty"):
        read(data, CLASSIFY, {"x": content}.__getitem__)
