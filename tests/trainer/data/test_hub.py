"""A hub that cannot be reached: nothing here leaves this host."""

from __future__ import annotations

import socket
import tempfile
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import datasets
import pytest

from tessera import errors
from tessera.attempt.failure import FailureCategory
from tessera.trainer.data.hub import dataset_rows
from tessera.trainer.failure import classify

URL = "dataset://owner/name?split=test"


class Broken(BaseHTTPRequestHandler):
    """Is out of service."""

    def do_HEAD(self):
        self.send_response(503)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        """Not said."""


@contextmanager
def broken():
    with ThreadingHTTPServer(("127.0.0.1", 0), Broken) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


@contextmanager
def absent():
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


@pytest.mark.waits
@pytest.mark.parametrize("hub", [absent, broken])
def test_a_hub_that_does_not_answer(hub, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    # The library waits before it asks again, five times.
    monkeypatch.setattr(time, "sleep", lambda _: None)
    with hub() as port:
        monkeypatch.setattr(datasets.config, "HF_ENDPOINT", f"http://127.0.0.1:{port}")
        unreachable()


def test_a_host_that_is_told_to_stay_offline(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    unreachable()


def unreachable():
    with pytest.raises(errors.UnavailableError) as caught:
        next(dataset_rows(URL, ["text"], "data.files"))
    message = caught.value.message
    assert message.startswith(f"data.files: {URL} cannot be fetched from the hub: ")
    assert message.endswith("name that, dataset:///FOLDER")
    assert "\n" not in message
    failure = classify(caught.value, 0)
    assert (failure.category, failure.reason) == (FailureCategory.WORKER_LOST, "HUB_UNREACHABLE")
    assert not failure.collateral
