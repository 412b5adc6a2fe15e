"""Every file of a model's folder is followed, known to be irrelevant, or named."""

from __future__ import annotations

import pytest

from tessera import errors
from tessera.client.folder import Folder
from tessera.models.huggingface.statement import Known


@pytest.fixture
def folder(tmp_path):
    def make(**files):
        for name, content in files.items():
            path = tmp_path / name.replace("__", "/")
            path.parent.mkdir(exist_ok=True, parents=True)
            path.write_bytes(content)
        return Folder(tmp_path)

    return make


def test_what_nobody_read_is_named_with_its_file(folder):
    found = folder(a=b'{"x": 1, "y": 2, "z": 3}', sub__b=b"?", c=b"?", README=b"", d=b"[]")
    found.read_object("a").get("x")
    found.read_object("a").know({"y": Known(reason="a test")})
    assert found.read_bytes("c") == b"?"
    found.know({"READ*": "a test"})
    assert list(found.unfollowed()) == [
        "a: z 3 is not followed: nothing here knows it",
        "d was not read: nothing here knows it",
        "sub/b was not read: nothing here knows it",
    ]


@pytest.mark.parametrize(
    "name",
    ["README.md", "runs/1/events.out.tfevents.1", ".git/objects/ab/cd", "optimizer.pt",
     ".cache/huggingface/download/config.json.metadata"],
)  # fmt: skip
def test_what_says_nothing_about_a_model_is_not_named(folder, name):
    assert list(folder(**{name: b""}).unfollowed()) == []


@pytest.mark.parametrize("name", ["pytorch_model.bin", "onnx/model.onnx", "consolidated.00.pth",
                                  "model-00002-of-00002.safetensors", "tf_model.h5"])  # fmt: skip
def test_weights_in_another_form_are_named(folder, name):
    (note,) = folder(**{name: b""}).unfollowed()
    assert note.startswith(f"{name} was not read: weights in another form")


def test_files_that_are_elsewhere_are_named_too(tmp_path):
    found = Folder(tmp_path, ("model.onnx", "LICENSE.txt", "extra.py"))
    assert [note.partition(" ")[0] for note in found.unfollowed()] == ["extra.py", "model.onnx"]
    assert found.read_bytes("extra.py") is None


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"{", "no JSON"),
        (b"[" * 10**6, "no JSON"),
        (b'{"a": 1, "b": {"c": 1, "c": 2}}', "`c` stands twice"),
        (b"\xff\xfe\xfd", "no JSON"),
        (b"[1]", "no object"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:aa\nsize 3\n", "git lfs pull"),
    ],
)
def test_a_file_that_is_not_what_it_should_be_is_refused(folder, content, match):
    with pytest.raises(errors.InvalidArgumentError, match=match) as caught:
        folder(a=content).read_object("a")
    assert caught.value.reason == "INVALID_CHECKPOINT"
