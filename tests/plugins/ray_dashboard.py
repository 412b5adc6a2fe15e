"""A Ray dashboard, as far as a controller asks one: jobs that start, run for a while and end."""

from __future__ import annotations

import json
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

NODE = {
    "node_id": "n0",
    "state": "ALIVE",
    "resources_total": {"CPU": 64.0, "GPU": 8.0, "accelerator_type:H100": 1.0, "memory": 1e11},
}
ANSWERS: dict[str, Any] = {
    "/api/version": {"session_name": "session-1", "version": "2"},
    "/api/v0/nodes": {"data": {"result": {"result": [NODE]}}},
    "/api/cluster_status": {"data": {"clusterStatus": {"loadMetricsReport": {"usage": {}}}}},
}
STRANGE = (
    b"", b"null", b"[]", b"7", b'"x"', b"{}", b"<html>", b'{"data": null}', b'{"data": []}',
    b'{"data": {"result": {"result": [{"state": "ALIVE"}]}}}', b"\xff\xfe", b'{"data": "x"}',
    b'{"data": {"result": {"result": [{"state": "ALIVE", "node_id": 7, "resources_total": []}]}}}',
)  # fmt: skip
"""What answers at an address that is no Ray cluster's."""
RUNS_SECONDS = 10.0
KEPT = 5000


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Dashboard

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if self.server.strange:
            self._send(self.server.next_strange())
        elif path in ANSWERS:
            self._send(json.dumps(ANSWERS[path]).encode())
        elif path.endswith("/logs"):
            self._send(b'{"logs": "a line\\n"}')
        else:
            status = self.server.status(path.rpartition("/")[2])
            self._send(json.dumps(status).encode(), 200 if status else 404)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        if self.path.endswith("/stop"):
            self.server.stopped.add(self.path.split("/")[-2])
        elif body:
            told = json.loads(body)
            self.server.started[told["submission_id"]] = time.monotonic()
            self.server.heard(str(told.get("metadata", {}).get("TESSERA_TICKETS", "")))
        self._send(b'{"stopped": true}')

    def _send(self, body: bytes, status: int = 200) -> None:
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Dashboard(ThreadingHTTPServer):
    """Listens on a port of its own, on a thread.

    Args:
        strange: whether it answers with anything but what a Ray cluster says.
        heard: told the tickets of each submission.
    """

    daemon_threads = True

    def __init__(self, *, strange: bool = False, heard: Any = lambda _: None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.strange = strange
        self.heard = heard
        self.started: dict[str, float] = {}
        self.stopped: set[str] = set()
        self._next = 0
        self.address = f"http://127.0.0.1:{self.server_address[1]}"
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def next_strange(self) -> bytes:
        self._next += 1
        return STRANGE[self._next % len(STRANGE)]

    def status(self, submission: str) -> dict[str, Any]:
        begun = self.started.get(submission)
        if begun is None:
            return {}
        if submission in self.stopped:
            return {"status": "STOPPED"}
        if time.monotonic() - begun < RUNS_SECONDS:
            return {"status": "RUNNING"}
        if len(self.started) > KEPT:
            self.started, self.stopped = {}, set()
        failed = begun * 1000 % 3 < 1
        return {"status": "FAILED", "driver_exit_code": 1} if failed else {"status": "SUCCEEDED"}

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away in the middle is nobody's defect."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)
