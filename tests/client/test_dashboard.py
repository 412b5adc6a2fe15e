"""Pages of Ray's dashboard."""

from __future__ import annotations

import pytest

from tessera.api.controller.v1 import registry_pb2
from tessera.client.dashboard import actor_of, actor_page, job_page


@pytest.mark.parametrize("dashboard", ["http://h:1", "http://h:1/"])
def test_pages(dashboard):
    assert job_page(dashboard, "job-1") == "http://h:1/#/jobs/job-1"
    assert actor_page(dashboard, "0a") == "http://h:1/#/actors/0a"


@pytest.mark.parametrize(("dashboard", "name"), [("", "a"), ("http://h:1", ""), ("", "")])
def test_what_is_not_known_has_no_page(dashboard, name):
    assert job_page(dashboard, name) == actor_page(dashboard, name) == ""


def test_an_endpoint_that_is_no_actor_has_none():
    assert actor_of(registry_pb2.Endpoint()) == ""
    assert actor_of(registry_pb2.Endpoint(labels={"actor": "0a"})) == "0a"
