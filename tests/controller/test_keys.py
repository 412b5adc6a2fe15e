"""Keys that sign: made once, private, and replaced without anybody being cut off."""

from __future__ import annotations

import os
import stat
import time

import pytest

from tessera import errors
from tessera.controller.keys import PUBLISHED_SECONDS, Keys
from tessera.rpc.identity import Verifier
from tessera.rpc.principal import Principal, Role

ADA = Principal(subject="ada", role=Role.SUBMITTER)


def pass_time(folder):
    """As if a new key had been known for long."""
    then = time.time() - 2 * PUBLISHED_SECONDS
    os.utime(folder / "next.pem", (then, then))


def test_the_first_key_is_made_once_and_private(tmp_path):
    folder = tmp_path / "keys"
    assert Keys(folder).public == Keys(folder).public
    assert stat.S_IMODE((folder / "signing.pem").stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_new_key_is_known_before_it_signs_and_two_are_valid_at_once(tmp_path):
    keys = Keys(tmp_path)
    first = keys.signer.issue(ADA)
    keys.rotate()
    assert Verifier(keys.public[:1]).verify(keys.signer.issue(ADA)) == ADA, "the old one signs"
    known = Verifier(keys.public)
    with pytest.raises(errors.FailedPreconditionError) as caught:
        keys.rotate()
    assert caught.value.reason == "ROTATION_UNDER_WAY"
    assert 0 < caught.value.retry_after <= PUBLISHED_SECONDS
    pass_time(tmp_path)
    second = keys.signer.issue(ADA)
    assert known.verify(second) == ADA, "who knew the keys before knows this one"
    assert Verifier(Keys(tmp_path).public).verify(first) == ADA, "also after a restart"
    keys.rotate()
    pass_time(tmp_path)
    now = Verifier(keys.public)
    assert now.verify(second) == ADA
    with pytest.raises(errors.UnauthenticatedError):
        now.verify(first)
    assert len(keys.public) == 2
