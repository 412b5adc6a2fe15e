"""Page tokens."""

from __future__ import annotations

from tessera.controller.services import pages


def test_page_tokens_round_trip():
    assert pages.decode(pages.encode("default/m")) == "default/m"
    assert pages.encode("") == ""
