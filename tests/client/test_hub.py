"""Where a model to import lies: in a folder, or on a hub that cannot be reached."""

from __future__ import annotations

import sys

import pytest

from tessera import errors
from tessera.client import hub


@pytest.mark.parametrize("source", ["./nowhere", "/no/where", "~/nowhere-at-all", "a b", "x/y/z"])
def test_a_folder_that_is_not_there(source):
    with pytest.raises(errors.NotFoundError, match="no folder") as caught:
        hub.locate(source)
    assert caught.value.reason == "SOURCE_NOT_FOUND"


def test_a_folder_has_no_revision(tmp_path):
    with pytest.raises(errors.InvalidArgumentError) as caught:
        hub.locate(str(tmp_path), "main")
    assert caught.value.reason == "REVISION_OF_FOLDER"


def test_without_a_network_the_hub_is_unreachable(monkeypatch):
    from huggingface_hub import constants  # noqa: PLC0415 - slow to load, and only this test's

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(errors.UnavailableError, match="no folder owner/name") as caught:
        hub.locate("owner/name")
    assert caught.value.reason == "HUB_UNREACHABLE"
    with pytest.raises(errors.NotFoundError) as caught:
        hub.locate("owner--name/x..")
    assert caught.value.reason == "SOURCE_NOT_FOUND"


def test_without_its_package_there_is_no_hub(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(errors.FailedPreconditionError, match="name a folder") as caught:
        hub.locate("owner/name")
    assert caught.value.reason == "HUB_NOT_INSTALLED"
