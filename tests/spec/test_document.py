"""Job files that cannot be read, and where in a file stands what the server refuses."""

from __future__ import annotations

import pytest

from tessera import errors
from tessera.spec import load, read
from tessera.spec.document import MAX_BYTES

from .good import GOOD


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "FILE_NOT_FOUND"),
        (b"\xff\xfe\x00x", "NOT_UTF8"),
        (b"#" * (MAX_BYTES + 1), "BAD_YAML"),
    ],
    ids=["missing", "binary", "huge"],
)
def test_file_that_is_none(tmp_path, content, reason):
    path = tmp_path / "job.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(errors.InvalidArgumentError) as caught:
        load(path)
    assert caught.value.reason == reason
    assert caught.value.message.startswith(f"{path}:")


def test_folder_for_a_file(tmp_path):
    with pytest.raises(errors.InvalidArgumentError, match="is a directory") as caught:
        load(tmp_path)
    assert caught.value.reason == "FILE_NOT_READABLE"


def test_server_errors_are_located(tmp_path):
    path = tmp_path / "job.yaml"
    path.write_text(GOOD)
    document = read(path)

    def located(field, description="wrong"):
        return document.locate(
            errors.NotFoundError("x", reason="R", violations=[errors.Violation(field, description)])
        )

    error = located("spec.data.files[0]")
    assert isinstance(error, errors.NotFoundError)
    assert error.reason == "R"
    assert error.message == f"{path}:4:11: data.files[0]: wrong"
    assert located("labels[team]").message.startswith(f"{path}:6:16: ")
    assert located("data.files[7]").message.startswith(f"{path}:4:10: ")
    assert located("train.warmup_steps").message.startswith(f"{path}:5:8: ")
    assert located("publish.set").message == f"{path}: publish.set: wrong"
    assert located("queue", "queue: no").message == f"{path}: queue: no"
    told = errors.NotFoundError(
        "spec.queue: no queue; there is another (and 1 more)",
        reason="R",
        violations=[errors.Violation("spec.queue", "no queue"), errors.Violation("name", "no")],
    )
    assert document.locate(told).message == (
        f"{path}: queue: no queue; there is another (and 1 more)"
    )
    foreign = errors.AlreadyExistsError(
        "request_id 'a' is used", violations=[errors.Violation("request_id", "used")]
    )
    assert document.locate(foreign) is foreign
    plain = errors.UnavailableError("gone")
    assert document.locate(plain) is plain
