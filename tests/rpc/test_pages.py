"""Page tokens: what a list made comes back, and nothing else is taken."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tessera import errors
from tessera.api.controller.v1 import job_pb2 as pb
from tessera.rpc.pages import PageTokens, every_page

VERSIONS = PageTokens(of="versions", position=r"[0-9]{1,18}")
NAMES = PageTokens(of="names", position=r"[-a-z0-9/]{1,127}")


@given(st.from_regex(r"[-a-z0-9/]{1,127}", fullmatch=True))
def test_tokens_round_trip(position):
    assert NAMES.decode(NAMES.encode(position)) == position


def test_no_token_is_the_first_page():
    assert NAMES.encode("") == NAMES.decode("") == ""


GARBAGE = [
    "²",
    "a",
    "a" * 1000,
    "99999999999999999999",
    "\0",
    NAMES.encode("default/m"),
    NAMES.encode("1"),
    VERSIONS.encode("1") + "=",
    base64.urlsafe_b64encode(b"versions:" + b"9" * 19).decode(),
    base64.urlsafe_b64encode("versions:²".encode()).decode(),
    base64.urlsafe_b64encode(b"versions:1\n").decode(),
    base64.urlsafe_b64encode(b"\xff").decode(),
]


@given(st.one_of(st.sampled_from(GARBAGE), st.text(), st.binary().map(base64.b64encode)))
def test_what_the_list_did_not_make_is_the_callers_mistake(token):
    text = token.decode() if isinstance(token, bytes) else token
    if text:
        with pytest.raises(errors.InvalidArgumentError) as refused:
            VERSIONS.decode(text)
        assert refused.value.reason == "INVALID_PAGE_TOKEN"


def test_pages_are_fetched_as_they_are_wanted():
    asked = []

    def fetch(request):
        asked.append(request.page_token)
        last = len(asked) == 3
        return pb.ListJobsResponse(next_page_token="" if last else f"p{len(asked)}")

    pages = every_page(fetch, pb.ListJobsRequest(page_size=5))
    assert asked == []
    next(pages)
    assert asked == [""]
    assert len(list(pages)) == 2
    assert asked == ["", "p1", "p2"]
