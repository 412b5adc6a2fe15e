"""The schema is one, and takes what the reader takes."""

from __future__ import annotations

from pathlib import Path

import jsonschema
import pytest
import yaml

from tessera import errors
from tessera.api.controller.v1.spec_pb2 import JobSpec
from tessera.spec import check, json_schema, load, plain, resolve
from tessera.spec.document import parse_document

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.yaml"))
MINIMAL = {"name": "a", "model": {"family": "gpt"}, "data": {"files": ["x"]}}


def valid(document) -> bool:
    return jsonschema.Draft202012Validator(json_schema()).is_valid(document)


def test_schema_is_one():
    jsonschema.Draft202012Validator.check_schema(json_schema())


def test_every_field_is_described():
    def walk(schema, path):
        if path:
            assert schema.get("description"), path
        for name, inner in schema.get("properties", {}).items():
            walk(inner, f"{path}.{name}")

    schema = json_schema()
    walk(schema, "")
    assert list(schema["properties"]) == [field.name for field in JobSpec.DESCRIPTOR.fields]
    assert schema["required"] == ["name", "model", "data"]
    assert schema["properties"]["model"]["required"] == ["family"]
    assert schema["properties"]["train"]["properties"]["lr"]["exclusiveMinimum"] == 0


def test_minimal_spec_and_its_resolved_form():
    assert valid(MINIMAL)
    spec = parse_document(yaml.safe_dump(MINIMAL), "x", None).spec
    assert valid(plain(resolve(spec)))


@pytest.mark.parametrize(
    "change",
    [
        {"name": "A b"},
        {"nmae": "a"},
        {"model": {"family": "gpt", "layers": 0}},
        {"model": {"family": "gpt", "layers": "2"}},
        {"model": {}},
        {"model": {"family": "gtp"}},
        {"data": {"files": []}},
        {"data": {"files": "x"}},
        {"labels": {"a": 1}},
        {"kind": "serve"},
        {"train": {"precision": "fp8"}},
        {"train": {"lr": 0}},
        {"priority": 2000},
        {"task": {"kind": "chat"}},
        {"task": {"labels": ["a", "a"]}},
        {"task": {"labels": "a"}},
        {"task": {"mask_probability": 1}},
        {"task": {"pooling": "max"}},
        {"tuning": {"method": "qlora"}},
        {"tuning": {"lora": {"rank": 0}}},
        {"tuning": {"lora": {"merge": "later"}}},
        {"model": {"family": "gpt", "kv_heads": 0}},
        {"model": {"family": "gpt", "norm": "batch"}},
        {"model": {"family": "gpt", "attention_dropout": 1}},
        {"model": {"family": "gpt", "attention_dropout": "much"}},
        {"model": {"family": "gpt", "rotary_base": 1}},
        {"model": {"family": "gpt", "norm_epsilon": 0}},
        {"model": {"family": "gpt", "init": {"form": "a"}}},
        {"tokenizer": {"kind": "sentencepiece"}},
        {"data": {"files": ["x"], "format": "xml"}},
        {"data": {"files": ["x"], "columns": {"text": 1}}},
        {"data": {"files": ["x"], "columns": {"": "a"}}},
        {"data": {"files": ["x"], "target_files": "y"}},
        {"data": {"files": ["x"], "header": "first"}},
    ],
    ids=str,
)
def test_schema_and_reader_refuse_the_same(change):
    document = {**MINIMAL, **change}
    assert not valid(document)
    with pytest.raises(errors.InvalidArgumentError):
        check(parse_document(yaml.safe_dump(document), "x", None).spec, uploaded=False)


FULL = {
    "name": "a",
    "model": {
        "family": "bert_gpt",
        "init": {"encoder": "a@1", "decoder": "b"},
        "decoder_layers": 3,
        "norm": "rms",
        "positions": "rotary",
        "rotary_base": 500000.0,
        "norm_epsilon": 1e-6,
        "attention_dropout": 0.1,
        "activation": "swiglu",
        "bias": False,
    },
    "task": {"kind": "joint", "masked_weight": 0.5, "next_weight": 2},
    "tuning": {"method": "lora", "lora": {"rank": 4, "targets": ["mlp.up"], "merge": True}},
    "data": {
        "files": ["s3://a/x.csv"],
        "columns": {"source": "de", "target": "en"},
        "header": True,
        "validation_files": ["s3://a/y.csv"],
    },
}


def test_schema_and_reader_take_the_same():
    assert valid(FULL)
    spec = parse_document(yaml.safe_dump(FULL), "x", None).spec
    assert plain(spec) == FULL
    check(spec)
    assert valid(plain(resolve(spec)))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_examples(path):
    load(path)
    assert valid(yaml.safe_load(path.read_text()))
