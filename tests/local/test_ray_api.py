"""Ray's HTTP goes straight to where it is sent, from here and from the controller."""

from __future__ import annotations

import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tessera.controller.policy.records import Pool
from tessera.controller.pools.launcher import RayHttp
from tessera.controller.pools.secrets import Secrets, of_path
from tessera.local import ray_api

NAMES = ("http_proxy", "https_proxy", "all_proxy")


class Answer(BaseHTTPRequestHandler):
    def do_GET(self):
        body = (self.headers.get("authorization") or "none").encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def url(monkeypatch, tmp_path):
    for name in NAMES:
        monkeypatch.setenv(name, "http://127.0.0.1:9")
        monkeypatch.setenv(name.upper(), "http://127.0.0.1:9")
    netrc = tmp_path / ".netrc"
    netrc.write_text("default login eve password stolen\n")
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HOME", str(tmp_path))
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.waits
def test_from_the_command_line(url, tmp_path):
    (tmp_path / "token").write_text("t\n")
    assert ray_api.get(url, tmp_path / "token", seconds=5) == b"Bearer t"
    assert ray_api.get(url, None, seconds=5) == b"none"


@pytest.mark.waits
async def test_from_the_controller(url, tmp_path):
    (tmp_path / "token").write_text("t\n")
    bare = Pool(name="p", dashboard_url=url, ray_address="h:1")
    pool = replace(bare, token=of_path(tmp_path / "token"))
    http = RayHttp(Secrets(folder=tmp_path))
    try:
        assert (await http.call(pool, "GET", "/", seconds=5)).text == "Bearer t"
        assert (await http.call(bare, "GET", "/", seconds=5)).text == "none"
    finally:
        await http.close()
