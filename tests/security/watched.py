"""A server's process under attack."""

from __future__ import annotations

import threading
import time

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc


class Watched:
    """How large the servers' process becomes, and how long a health check takes meanwhile."""

    def __init__(self, served) -> None:
        self._rss = served.rss
        self._channel = grpc.insecure_channel(served.addresses["controller"])
        self._check = health_pb2_grpc.HealthStub(self._channel).Check
        self._check(health_pb2.HealthCheckRequest(), timeout=10)
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=run) for run in (self._weigh, self._ask)]
        self.seconds = []
        self.before = self.peak = served.rss()

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        time.sleep(0.1)
        self._ended.set()
        for thread in self._threads:
            thread.join()
        self._channel.close()

    def _weigh(self) -> None:
        while not self._ended.is_set():
            self.peak = max(self.peak, self._rss())
            time.sleep(0.005)

    def _ask(self) -> None:
        while not self._ended.is_set():
            begin = time.perf_counter()
            self._check(health_pb2.HealthCheckRequest(), timeout=30)
            self.seconds.append(time.perf_counter() - begin)
            time.sleep(0.005)
