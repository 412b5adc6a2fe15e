"""Files that are named, found, decompressed and decoded, and what is said of those that are not."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import socket
import threading
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import fsspec
import pyarrow as pa
import pytest

from tessera import errors
from tessera.attempt.failure import FailureCategory
from tessera.data.content import plain_text
from tessera.data.settings import DataSettings
from tessera.data.split import Text
from tessera.environment import hermetic
from tessera.trainer.data.read import read_texts
from tessera.trainer.data.sources import expand, read_one
from tessera.trainer.failure import classify


def no_blobs(digest):
    raise errors.NotFoundError(f"blob {digest}: there are no uploads")


def texts(files, read_blob=no_blobs, **settings):
    train, held_out = read_texts(DataSettings(files=tuple(files), **settings), read_blob)
    return sorted([*train, *held_out], key=lambda text: text.name)


def fails(files, reason, read_blob=no_blobs, field="data.files", **settings):
    with pytest.raises(errors.InvalidArgumentError) as caught:
        texts(files, read_blob, **settings)
    assert caught.value.reason == reason
    assert caught.value.violations[0].field == field
    return caught.value.message


def zstd(content):
    out = pa.BufferOutputStream()
    with pa.CompressedOutputStream(out, "zstd") as stream:
        stream.write(content)
    return out.getvalue().to_pybytes()


COMPRESS = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress, "zst": zstd}


def test_vanished_data(tmp_path):
    assert "gone.txt" in fails([str(tmp_path / "gone.txt")], "DATA_NOT_FOUND")
    fails([f"{tmp_path}/*.txt"], "DATA_NOT_FOUND")
    fails(["stdlib://no/such/*.py"], "DATA_NOT_FOUND")
    fails(["blob://" + "0" * 64 + "/a.txt"], "DATA_NOT_FOUND")
    fails(["memory://nothing/here.txt"], "DATA_NOT_FOUND")
    fails(["nosuchscheme://x"], "DATA_UNREADABLE")


@pytest.mark.parametrize("url", ["a.txt", "*.txt"])
def test_a_storage_that_cannot_be_reached_is_no_fault_of_the_users(url):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # Nobody listens.
        place = f"http://127.0.0.1:{taken.getsockname()[1]}/{url}"
        with pytest.raises(errors.UnavailableError, match="cannot be reached") as caught:
            texts([place], lambda _: b"")
    assert caught.value.reason == "DATA_UNREACHABLE"
    assert caught.value.message.startswith(f"data.files: {place}")
    failure = classify(caught.value, 0)
    assert (failure.category, failure.collateral) == (FailureCategory.WORKER_LOST, False)


def test_empty_data(tmp_path):
    (tmp_path / "a.txt").write_text("")
    (tmp_path / "b.txt").write_text(" \n\n")
    (tmp_path / "full").write_text("text")
    fails([f"{tmp_path}/*.txt"], "DATA_EMPTY")
    fails(
        [f"{tmp_path}/full"],
        "DATA_EMPTY_SPLIT",
        field="data.validation_files",
        validation_files=(f"{tmp_path}/*.txt",),
    )


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"good\nb\xe6d\n", "bad.txt:2: byte 6 (0xe6) is not UTF-8"),
        (b"\n\ntext with \0 in it", "bad.txt:3: byte 12 is zero"),
        ("UTF-16".encode("utf-16"), "bad.txt:1: the file is UTF-16"),
        ("latin 1: é".encode("latin-1") + "é".encode(), "bad.txt:1: byte 9 (0xe9)"),
    ],
)
def test_what_is_no_text_is_named_by_file_and_line(content, said, tmp_path):
    (tmp_path / "good.txt").write_text("good")
    (tmp_path / "bad.txt").write_bytes(content)
    assert said in fails([f"{tmp_path}/*"], "DATA_NOT_TEXT")


def test_a_byte_order_mark_is_no_text():
    assert texts(["blob://f/a.txt"], lambda _: b"\xef\xbb\xbfab", held_out=0.5) == [
        Text(name="a.txt", content="a"),
        Text(name="a.txt", content="b"),
    ]


def test_the_standard_library_is_text_without_tests():
    found = texts(["stdlib://[a-c]*.py", "stdlib://json/**/*.py"], max_bytes=500_000)
    assert 490_000 < sum(len(text.content.encode()) for text in found) <= 500_000
    for folder in ("site-packages", "test", "unittest/test"):
        fails([f"stdlib://{folder}/*.py"], "DATA_NOT_FOUND")


def test_everything_fsspec_opens_is_read_and_named_below_the_pattern():
    filesystem = fsspec.filesystem("memory")
    for name, content in {"a/b.txt": "one", "a/c/d.txt": "naïve"}.items():
        filesystem.pipe(f"/corpus/{name}", content.encode())
    assert texts(["memory://corpus/**/*.txt"]) == [
        Text(name="a/b.txt", content="one"),
        Text(name="a/c/d.txt", content="naïve"),
    ]
    assert read_one("memory://corpus/a/b.txt", no_blobs) == b"one"


@pytest.mark.parametrize("extension", COMPRESS)
def test_what_is_compressed_is_read_as_if_it_were_not(extension, tmp_path):
    content = COMPRESS[extension]("naïve\n".encode())
    (tmp_path / f"a.txt.{extension}").write_bytes(content)
    (source,) = expand([f"{tmp_path}/*"], no_blobs)
    assert plain_text(source) == "naïve\n"
    # Uploads are named by what they are made of; the name comes after it.
    (source,) = expand([f"blob://f/a.txt.{extension.upper()}"], {"f": content}.__getitem__)
    assert plain_text(source) == "naïve\n"


@pytest.mark.parametrize("extension", COMPRESS)
@pytest.mark.parametrize("damage", [lambda c: c[:-5], lambda c: b"plain", lambda c: c[:9] + b"x"])
def test_what_does_not_decompress_is_unreadable(extension, damage):
    content = damage(COMPRESS[extension](b"text " * 99))
    assert f"a.{extension}" in fails(
        [f"blob://f/a.{extension}"], "DATA_UNREADABLE", lambda _: content
    )


def test_a_damaged_middle_is_unreadable():
    content = bytearray(gzip.compress(zlib.compress(bytes(range(256)) * 50)))
    content[20] ^= 255
    fails(["blob://f/a.gz"], "DATA_UNREADABLE", lambda _: bytes(content))


def test_files_of_one_name_are_told_apart(tmp_path):
    for folder in ("en", "de"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.txt").write_text(folder)
    found = texts([f"{tmp_path}/en/a.txt", f"{tmp_path}/de/*"], held_out=0.5)
    assert [text.content for text in found] == ["de", "en"]
    assert all(f"{text.content}/a.txt" in text.name for text in found)
    (tmp_path / "de" / "a.txt").write_bytes(b"\xff")
    message = fails([f"{tmp_path}/en/a.txt", f"{tmp_path}/de/a.txt"], "DATA_NOT_TEXT")
    assert "de/a.txt:1: byte 0" in message


def test_uploads_are_read_by_their_digest():
    blobs = {"f" * 64: b"uploaded", "e" * 64: b"as well"}
    assert texts([f"blob://{'f' * 64}/my.txt"], blobs.__getitem__, held_out=0.5) == [
        Text(name="my.txt", content="uplo"),
        Text(name="my.txt", content="aded"),
    ]
    train, held_out = read_texts(
        DataSettings(files=("blob://" + "f" * 64,), validation_files=("blob://" + "e" * 64,)),
        blobs.__getitem__,
    )
    assert (train[0].content, held_out[0].content) == ("uploaded", "as well")


def test_a_limit_cuts_between_characters():
    found = texts([f"blob://{'f' * 64}/my.txt"], lambda _: "aééé".encode(), max_bytes=4)
    assert "".join(text.content for text in found) in {"aé", "éa"}


@pytest.mark.waits
@pytest.mark.parametrize("name", ["http_proxy", "HTTP_PROXY"])
def test_a_proxy_is_asked_for_what_is_elsewhere(name, monkeypatch):
    """Data sets lie outside, and the way there may be the environment's proxy alone."""
    asked = []

    class Proxy(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(200)
            self.send_header("content-length", "5")
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(b"words")

        do_HEAD = do_GET  # noqa: N815 - the library's name

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Proxy) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        for other in ("http_proxy", "HTTP_PROXY", "no_proxy", "NO_PROXY"):
            monkeypatch.delenv(other, raising=False)
        proxy = f"http://127.0.0.1:{server.server_port}"
        for key, value in hermetic({**os.environ, name: proxy}).items():
            monkeypatch.setenv(key, value)
        url = f"http://data.{name.lower().replace('_', '-')}.invalid/a-{name}.txt"
        assert read_one(url, lambda _: b"") == b"words"
        server.shutdown()
    assert set(asked) == {url}
