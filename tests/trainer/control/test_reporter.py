"""What a run tells is told without its secrets."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from tessera.api.controller.v1 import attempt_pb2, attempt_pb2_grpc
from tessera.trainer.control.reporter import ControllerReporter
from tessera.trainer.mask import HIDDEN, Mask
from tessera.trainer.settings import AttemptContext

SECRET = "s3cr3t-of-a-pool"


class Attempts(attempt_pb2_grpc.AttemptServiceServicer):
    def __init__(self):
        self.reports = []

    def ReportAttempt(self, request, context):
        self.reports.extend(request.reports)
        last = max((report.sequence for report in request.reports), default=0)
        return attempt_pb2.ReportAttemptResponse(acknowledged=last)


@pytest.fixture
def controller():
    service = Attempts()
    server = grpc.server(ThreadPoolExecutor(2))
    attempt_pb2_grpc.add_AttemptServiceServicer_to_server(service, server)
    service.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    yield service
    server.stop(0)


def test_secrets_are_hidden_wherever_they_stand(controller):
    mask = Mask()
    mask.learn([SECRET])
    context = AttemptContext(
        controller=controller.address, job="j", attempt=1, tenant="t", token="", driver=""
    )
    reporter = ControllerReporter(context, mask)
    reporter.metric(1, {f"loss {SECRET}": 1.0, "plain": 2.0})
    details = {"files": [{"url": f"https://x?token={SECRET}"}], SECRET: 3, "count": 4, "none": None}
    reporter.event("data", f"read {SECRET}", details)
    assert reporter.close(10)
    told = "".join(str(report) for report in controller.reports)
    assert SECRET not in told
    [point] = [report.metric for report in controller.reports if report.HasField("metric")]
    assert dict(point.values) == {f"loss {HIDDEN}": 1.0, "plain": 2.0}
    [event] = [report.event for report in controller.reports if report.HasField("event")]
    assert event.message == f"read {HIDDEN}"
    assert event.details["files"][0]["url"] == f"https://x?token={HIDDEN}"
    assert event.details[HIDDEN] == 3
    assert event.details["count"] == 4
