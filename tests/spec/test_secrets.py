"""Secrets in a spec: which variables, which places, and that a value has none in it."""

from __future__ import annotations

import jsonschema
import pytest
import yaml

from tessera import errors
from tessera.spec import check, dump, json_schema
from tessera.spec.document import parse_document

SPEC = "name: a\nmodel: {family: gpt}\ndata: {files: ['stdlib://**']}\n"
GOOD = (
    {"HF_TOKEN": {"env": "HF_TOKEN"}},
    {"HTTPS_PROXY": {"file": "hub/proxy.txt"}, "key": {"file": "k"}},
    {"AWS_SECRET_ACCESS_KEY": {"kubernetes": {"name": "s3.bucket", "key": "secret_key"}}},
)
RESERVED = (
    "PATH", "Path", "LD_PRELOAD", "PYTHONPATH", "PYTHONSTARTUP", "TESSERA_SECRETS_DIR",
    "RAY_ADDRESS", "RANK", "MASTER_ADDR", "HOME", "no_proxy", "BASH_ENV", "DYLD_LIBRARY_PATH",
)  # fmt: skip
WRONG = (
    ("A", {"file": "/etc/shadow"}, "INVALID_FIELD", ".file"),
    ("A", {"file": "../team-b/key"}, "INVALID_FIELD", ".file"),
    ("A", {"file": "a/../../b/c"}, "INVALID_FIELD", ".file"),
    ("A", {"file": "a//b"}, "INVALID_FIELD", ".file"),
    ("A", {"file": "a/"}, "INVALID_FIELD", ".file"),
    ("A", {"file": ".ssh/id_rsa"}, "INVALID_FIELD", ".file"),
    ("A", {"env": "B__C"}, "INVALID_FIELD", ".env"),
    ("A", {"env": "_B"}, "INVALID_FIELD", ".env"),
    ("A", {"env": "b"}, "INVALID_FIELD", ".env"),
    ("A", {"kubernetes": {"name": "a"}}, "INVALID_FIELD", ".kubernetes.key"),
    ("A", {"kubernetes": {"name": "a", "key": "..data"}}, "INVALID_FIELD", ".kubernetes.key"),
    ("A", {"kubernetes": {"name": "../b", "key": "c"}}, "INVALID_FIELD", ".kubernetes.name"),
    ("A", {"env": "A", "file": "a"}, "SECRET_SOURCE", ""),
    ("A", {}, "SECRET_SOURCE", ""),
    ("A", {"env": ""}, "SECRET_SOURCE", ""),
    ("A B", {"env": "A"}, "INVALID_FIELD", ""),
    ("A=B", {"env": "A"}, "INVALID_FIELD", ""),
    *((name, {"env": "A"}, "RESERVED_VARIABLE", "") for name in RESERVED),
)


def spec_of(secrets):
    text = SPEC + yaml.safe_dump({"secrets": secrets})
    return parse_document(text, "job.yaml", None).spec


@pytest.mark.parametrize("secrets", GOOD, ids=str)
def test_good_ones(secrets):
    spec = spec_of(secrets)
    check(spec)
    written = yaml.safe_load(dump(spec))
    assert written["secrets"] == secrets
    jsonschema.Draft202012Validator(json_schema()).validate(written)


@pytest.mark.parametrize(("name", "source", "reason", "field"), WRONG, ids=str)
def test_wrong_ones(name, source, reason, field):
    with pytest.raises(errors.InvalidArgumentError) as caught:
        check(spec_of({name: source}))
    assert caught.value.reason == reason
    assert [v.field for v in caught.value.violations] == [f"secrets[{name}]{field}"]


def test_no_more_than_32():
    check(spec_of({f"S{i}": {"env": "A"} for i in range(32)}))
    with pytest.raises(errors.InvalidArgumentError, match="secrets"):
        check(spec_of({f"S{i}": {"env": "A"} for i in range(33)}))


def test_a_value_in_the_place_of_a_name_is_not_repeated():
    """Whoever writes one down by mistake does not want it in a log of CI too."""
    with pytest.raises(errors.InvalidArgumentError, match="never the value itself") as caught:
        spec_of({"HF_TOKEN": "hf_planted_value"})
    assert caught.value.reason == "WRONG_TYPE"
    assert "planted" not in str(caught.value)
