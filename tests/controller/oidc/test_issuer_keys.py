"""The memory of an issuer's keys: one fetch for all who ask, and a pause between two."""

from __future__ import annotations

import asyncio
import json

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from jwt.algorithms import OKPAlgorithm

from tessera import errors
from tessera.controller.oidc.issuer_keys import (
    FRESH_SECONDS,
    MAX_KEYS,
    PAUSE_SECONDS,
    IssuerKeys,
    usable,
)


def key(kid, **fields):
    public = ed25519.Ed25519PrivateKey.generate().public_key()
    return {**json.loads(OKPAlgorithm.to_jwk(public)), "kid": kid, **fields}


class Published:
    """What an issuer says when it is asked, and how often it was."""

    def __init__(self):
        self.keys, self.fetches, self.now, self.gate = [key("a")], 0, 1000.0, None

    async def fetch(self):
        self.fetches += 1
        if self.gate is not None:
            await self.gate.wait()
        if self.keys is None:
            raise errors.UnavailableError("away", reason="OIDC_ISSUER_UNAVAILABLE")
        return list(self.keys)


@pytest.fixture
def published():
    return Published()


@pytest.fixture
def keys(published):
    return IssuerKeys(published.fetch, lambda: published.now)


async def refusal(keys, kid, algorithm="EdDSA"):
    with pytest.raises(errors.TesseraError) as caught:
        await keys.find(kid, algorithm)
    return caught.value.reason


async def test_keys_are_fetched_once_and_again_when_they_are_old(keys, published):
    for _ in range(5):
        await keys.find("a", "EdDSA")
    assert published.fetches == 1
    published.now += FRESH_SECONDS + 1
    published.keys = [key("b")]
    assert await refusal(keys, "a") == "OIDC_KEY"
    assert published.fetches == 2


async def test_an_unknown_key_is_looked_for_once_in_a_while(keys, published):
    await keys.find("a", "EdDSA")
    published.keys.append(key("b"))
    for _ in range(50):
        assert await refusal(keys, "b") == "OIDC_KEY"
    assert published.fetches == 1
    published.now += PAUSE_SECONDS
    await keys.find("b", "EdDSA")
    for number in range(50):
        assert await refusal(keys, f"x{number}") == "OIDC_KEY"
    assert published.fetches == 2


async def test_all_who_ask_at_once_share_a_fetch_that_nobodys_leaving_ends(keys, published):
    published.gate = asyncio.Event()
    asking = [asyncio.create_task(keys.find("a", "EdDSA")) for _ in range(20)]
    await asyncio.sleep(0)
    asking[0].cancel()
    await asyncio.sleep(0)
    published.gate.set()
    found = await asyncio.gather(*asking, return_exceptions=True)
    assert isinstance(found[0], asyncio.CancelledError)
    assert not [one for one in found[1:] if isinstance(one, BaseException)]
    assert published.fetches == 1


async def test_keys_that_are_there_go_on_while_the_issuer_is_away(keys, published):
    held, published.keys = published.keys, None
    assert await refusal(keys, "a") == "OIDC_ISSUER_UNAVAILABLE"
    assert await refusal(keys, "a") == "OIDC_ISSUER_UNAVAILABLE"
    assert published.fetches == 1
    published.now += PAUSE_SECONDS
    published.keys = held
    await keys.find("a", "EdDSA")
    published.keys = None
    for _ in range(10):
        published.now += FRESH_SECONDS + 1
        await keys.find("a", "EdDSA")


@pytest.mark.parametrize(
    "algorithm", ["RS256", "PS512", "ES256", "ES256K", "none", "HS256", "", "R"]
)
async def test_a_key_is_for_its_own_algorithm_alone(keys, algorithm):
    assert await refusal(keys, "a", algorithm) == "OIDC_KEY"


async def test_what_is_no_key_is_none(published, keys):
    good = published.keys[0]
    published.keys = [
        None, 7, "x", {}, {"kid": 7}, {"kid": "a"}, {**good, "kid": None},
        {**good, "kid": "private", "d": "x"}, {**good, "kid": "enc", "use": "enc"},
        {"kty": "oct", "k": "AAAA", "kid": "oct"}, {**good, "kid": "odd", "x": "!"},
        {**good, "kid": "other", "alg": "ES256"}, {**good, "kid": "curve", "crv": "Ed448"}, good,
        key("a"),
    ]  # fmt: skip
    assert set(usable(published.keys)) == {"odd", "other", "curve", "a"}
    for kid in ("private", "enc", "oct", "odd", "other", "curve"):
        assert await refusal(keys, kid) == "OIDC_KEY"
    await keys.find("a", "EdDSA")
    assert usable(published.keys)["a"] == good
    assert len(usable([{**good, "kid": str(n)} for n in range(1000)])) == MAX_KEYS
