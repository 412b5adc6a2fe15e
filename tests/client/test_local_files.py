"""Local paths become blobs; the platform gets each content once."""

from __future__ import annotations

import hashlib
import io
import zipfile

import pytest

from tessera import errors
from tessera.api.controller.v1 import pool_pb2
from tessera.api.controller.v1.pool_pb2_grpc import BlobServiceStub
from tessera.api.controller.v1.spec_pb2 import (
    DataSpec,
    JobSpec,
    ModelSpec,
    TaskSpec,
    TokenizerSpec,
)
from tessera.client.local_files import localize
from tessera.rpc.channel import bearer, channel
from tessera.spec import resolve


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "text").mkdir()
    for name in ("b.txt", "a.txt", "c d.txt"):
        (tmp_path / "text" / name).write_text(f"this is {name}")
    (tmp_path / "text" / "deep").mkdir()
    (tmp_path / "text" / "deep" / "a.txt").write_text("deeper")
    return tmp_path


def names(done):
    return [url.rpartition("/")[2] for url in done.data.files]


def test_globs_are_expanded_and_sorted(spec, folder):
    done, files = localize(spec(files=["text/*.txt", "s3://x/y", "text/deep/a.txt"]), folder)
    assert names(done) == ["a.txt", "b.txt", "c_d.txt", "y", "a.txt"]
    assert done.data.files[3] == "s3://x/y"
    content = b"this is a.txt"
    assert done.data.files[0] == f"blob://{hashlib.sha256(content).hexdigest()}/a.txt"
    assert [file.size for file in files] == [13, 13, 15, 6]


def test_stars_go_down(spec, folder):
    done, _ = localize(spec(files=["text/**/*.txt"]), folder)
    # Files of one name in several folders are told apart.
    assert names(done) == ["a.txt", "b.txt", "c_d.txt", "deep_a.txt"]


def test_absolute_paths_and_special_characters(spec, folder, tmp_path):
    odd = tmp_path / "text" / "ünï#?%.txt"
    odd.write_text("x")
    done, _ = localize(spec(files=[str(odd)]), tmp_path / "elsewhere")
    assert names(done) == ["ünï___.txt"]


@pytest.fixture
def pairs(tmp_path):
    """Two languages, packed, in one order."""
    for name in ("one", "two"):
        for language in ("en", "de"):
            path = tmp_path / language / f"{name}.{language}.gz"
            path.parent.mkdir(exist_ok=True)
            path.write_text(f"{name} in {language}")
    (tmp_path / "dev.csv.xz").write_text("dev")
    return tmp_path


def translation(**data):
    return JobSpec(
        name="demo",
        model=ModelSpec(family="transformer"),
        data=DataSpec(**{"files": ["en/*.gz"], "target_files": ["de/*.gz"], **data}),
    )


def test_every_list_of_files_is_replaced_in_its_order(pairs):
    spec = translation(
        files=["en/two.en.gz", "en/one.en.gz"],
        target_files=["de/two.de.gz", "s3://a/one.de.gz"],
        validation_files=["en/*.gz", "hf://datasets/a/b.en"],
        validation_target_files=["de/*.gz", "hf://datasets/a/b.de"],
    )
    done, files = localize(spec, pairs)
    named = {
        field: [url.rpartition("/")[2] for url in getattr(done.data, field)]
        for field in ("files", "target_files", "validation_files", "validation_target_files")
    }
    assert named == {
        "files": ["two.en.gz", "one.en.gz"],
        "target_files": ["two.de.gz", "one.de.gz"],
        "validation_files": ["one.en.gz", "two.en.gz", "b.en"],
        "validation_target_files": ["one.de.gz", "two.de.gz", "b.de"],
    }
    assert done.data.target_files[1] == "s3://a/one.de.gz"
    assert done.data.validation_files[0] == done.data.files[1]
    assert done.data.files[0] == f"blob://{hashlib.sha256(b'two in en').hexdigest()}/two.en.gz"
    assert len(files) == 7
    assert spec.data.files[0] == "en/two.en.gz"


def test_endings_tell_the_format_after_uploading(pairs):
    spec = JobSpec(
        name="demo",
        model=ModelSpec(family="bert"),
        task=TaskSpec(kind="classification"),
        data=DataSpec(files=["*.csv.xz"], validation_files=["dev.csv.xz"]),
    )
    done, _ = localize(spec, pairs)
    assert done.data.files[0].endswith("/dev.csv.xz")
    assert resolve(done).data.format == resolve(spec).data.format == "csv"


def test_a_glob_may_match_files_of_several_formats(spec, folder):
    (folder / "text" / "e.json").write_text("{}")
    with pytest.raises(errors.InvalidArgumentError, match=r"`e\.json` is `jsonl` by") as caught:
        localize(spec(files=["text/*"]), folder)
    assert caught.value.reason == "FORMATS_DIFFER"
    as_text = spec(files=["text/*"])
    as_text.data.format = "text"
    assert names(localize(as_text, folder)[0])[-1] == "e.json"


def test_data_sets_pass(spec, folder):
    url = "dataset://owner/name?config=a&split=train"
    done, files = localize(spec(files=[url]), folder)
    assert (list(done.data.files), files) == ([url], [])


@pytest.mark.parametrize(
    ("data", "reason", "field", "words"),
    [
        (
            {"target_files": ["de/one*"]},
            "FILES_NOT_PAIRED",
            "data.target_files",
            "1 files cannot be translations of the 2 in data.files",
        ),
        (
            {"target_files": ["de/one.de.gz", "de/none.de.gz"]},
            "FILE_NOT_FOUND",
            "data.target_files[1]",
            "there is no file `de/none.de.gz`",
        ),
        (
            {"validation_files": ["en"], "validation_target_files": ["de"]},
            "NOT_A_FILE",
            "data.validation_files[0]",
            "is a folder",
        ),
    ],
    ids=["number", "missing", "folder"],
)
def test_pairs_that_are_none(pairs, data, reason, field, words):
    with pytest.raises(errors.InvalidArgumentError) as caught:
        localize(translation(**data), pairs)
    assert caught.value.reason == reason
    assert caught.value.violations[0].field == field
    assert words in caught.value.message


@pytest.mark.parametrize(
    ("fields", "reason", "field", "words"),
    [
        ({"files": ["x", "nope.txt"]}, "FILE_NOT_FOUND", "data.files[0]", "there is no file `x`"),
        ({"files": ["text/*.md"]}, "FILE_NOT_FOUND", "data.files[0]", "no file matches"),
        ({"files": ["text"]}, "NOT_A_FILE", "data.files[0]", "text/**/*.txt"),
        ({"code": "nope"}, "FILE_NOT_FOUND", "code", "there is no"),
        ({"code": "text/a.txt"}, "NOT_A_FILE", "code", "neither a folder nor a .py"),
        (
            {"tokenizer": TokenizerSpec(path="no.json")},
            "FILE_NOT_FOUND",
            "tokenizer.path",
            "there is no file",
        ),
    ],
)
def test_missing(  # noqa: PLR0917 - fixtures and parameters
    spec, folder, fields, reason, field, words
):
    with pytest.raises(errors.InvalidArgumentError) as caught:
        localize(spec(**fields), folder)
    assert caught.value.reason == reason
    assert caught.value.violations[0].field == field
    assert words in caught.value.message


def test_code_folder_is_a_reproducible_zip(spec, folder):
    code = folder / "mine"
    (code / "__pycache__").mkdir(parents=True)
    (code / "__pycache__" / "x.pyc").write_text("no")
    (code / ".git").mkdir()
    (code / ".git" / "config").write_text("no")
    (code / "objective.py").write_text("A = 1")
    (code / "inner").mkdir()
    (code / "inner" / "__init__.py").write_text("")
    done, (file,) = localize(spec(files=["s3://a/b"], code="mine"), folder)
    assert done.code.endswith("/mine.zip")
    with zipfile.ZipFile(io.BytesIO(file.source)) as archive:
        assert archive.namelist() == ["inner/__init__.py", "objective.py"]
    (code / "objective.py").touch()
    again, _ = localize(spec(files=["s3://a/b"], code="mine"), folder)
    assert again.code == done.code
    (code / "__init__.py").write_text("")
    _, (package,) = localize(spec(files=["s3://a/b"], code="mine"), folder)
    with zipfile.ZipFile(io.BytesIO(package.source)) as archive:
        assert "mine/objective.py" in archive.namelist()


def test_code_file_goes_as_it_is(spec, folder):
    (folder / "objective.py").write_text("A = 1")
    done, (file,) = localize(spec(files=["s3://a/b"], code="objective.py"), folder)
    assert done.code == f"blob://{hashlib.sha256(b'A = 1').hexdigest()}/objective.py"
    assert file.source == folder / "objective.py"


def test_code_too_large(spec, folder, monkeypatch):
    (folder / "mine").mkdir()
    (folder / "mine" / "data.bin").write_bytes(bytes(100))
    monkeypatch.setattr("tessera.client.local_files.MAX_CODE_BYTES", 99)
    with pytest.raises(errors.InvalidArgumentError) as caught:
        localize(spec(code="mine", files=["s3://a/b"]), folder)
    assert caught.value.reason == "CODE_TOO_LARGE"


def test_too_many_files(spec, folder, monkeypatch):
    monkeypatch.setattr("tessera.client.local_files.MAX_FILES", 2)
    with pytest.raises(errors.InvalidArgumentError) as caught:
        localize(spec(files=["text/*.txt"]), folder)
    assert caught.value.reason == "TOO_MANY_FILES"


def test_upload(client, platform, spec, folder):
    big = bytes(range(1, 128)) * 20_000  # Several chunks.
    (folder / "big.bin").write_bytes(big)
    seen = []
    job = client.jobs.create(
        spec("up", files=["big.bin", "text/a.txt"], publish={"set": "up"}),
        folder=folder,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert seen == [(len(big), len(big) + 13), (len(big) + 13, len(big) + 13)]
    digest = hashlib.sha256(big).hexdigest()
    assert job.spec.data.files[0] == f"blob://{digest}/big.bin"
    with channel(platform.address) as connection:
        parts = BlobServiceStub(connection).GetBlob(
            pool_pb2.GetBlobRequest(digest=digest), metadata=bearer(platform.token), timeout=10
        )
        assert b"".join(part.data for part in parts) == big
    _, files = localize(spec(files=["big.bin"]), folder)
    assert client.blobs.upload(files) == 0  # It is there already.
    client.jobs.cancel(job.id)


def test_file_that_changes_meanwhile(client, spec, folder):
    _, files = localize(spec(files=["text/b.txt"]), folder)
    (folder / "text" / "b.txt").write_text("something else")
    with pytest.raises(errors.FailedPreconditionError, match=r"b\.txt changed") as caught:
        client.blobs.upload(files)
    assert caught.value.reason == "FILE_CHANGED"


def test_nothing_is_uploaded_for_a_wrong_spec(client, spec, folder):
    with pytest.raises(errors.InvalidArgumentError):
        client.jobs.create(
            spec(files=["text/a.txt"], train={"warmup_steps": 5, "steps": 1}), folder=folder
        )
    assert not client.blobs.has(hashlib.sha256(b"this is a.txt" * 2).hexdigest())
