"""`tessera tenants`, `token` and `keys`."""

from __future__ import annotations

import json
import re

import pytest


def test_a_tenant_and_its_tokens(on, tessera, monkeypatch):
    assert re.search(r"default +\d+ of 10000 +\d+ of 1000 +\S+ k?M?B of 1.1 TB ", on("tenants").out)
    assert "tenant shop" in on("tenants", "create", "shop").out
    made = on("token", "create", "ada", "--tenant", "shop", "--ttl", "12h", "--role", "viewer")
    assert made.code == 0, made.err
    secret = made.out.strip()
    token_id = re.search(r"token (\w+) of ada, viewer of shop, for 12h", made.err)[1]
    listed = on("token", "list", "--tenant", "shop")
    assert re.search(rf"{token_id}\s+ada\s+viewer\s+\S+\s+\d+ s\s+12 h left", listed.out)
    assert secret not in listed.out
    monkeypatch.setenv("TESSERA_TOKEN", secret)
    assert [one["name"] for one in json.loads(on("tenants", "--output", "json").out)] == ["shop"]
    denied = on("token", "create", "eve")
    assert denied.code == 1
    assert "viewer 'ada' may not call AccessService/CreateToken" in denied.err
    monkeypatch.delenv("TESSERA_TOKEN")
    gone = on("token", "revoke", token_id, "--tenant", "shop")
    assert gone.out == f"token {token_id} of ada is revoked\n"
    assert " revoked" in on("token", "list", "--tenant", "shop").out
    monkeypatch.setenv("TESSERA_TOKEN", secret)
    assert "revoked" in on("jobs").err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["create", "ada", "--ttl", "soon"], "write `90d`, `12h` or `30m`"),
        (["create", "ada", "--ttl", "999d"], "ttl"),
        (["create", "ada", "--role", "king"], "--role"),
        (["create", "ada", "--tenant", "nobody"], "tenant"),
        (["create", "a b"], "subject"),
        (["revoke", "nope-"], "id"),
        (["revoke", "01jzzzzzzzzzzzzzzzzzzzzzzz"], "token list"),
    ],
)
def test_mistakes(on, arguments, words):
    done = on("token", *arguments)
    assert done.code == 2, done.err
    assert words in done.err
    assert len(done.err.splitlines()) == 1
