"""The command line of the controller."""

from __future__ import annotations

import pytest

from tessera.controller.__main__ import config, parser
from tessera.rpc.platform_limits import PlatformLimits
from tessera.spec.configuration import parse_configuration


def test_the_command_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "t"))
    given = config(
        ["--home", str(tmp_path), "--listen", "127.0.0.1:0", "--pool", "local,http://h:1,h:2"]
    )
    assert given.pools[0].ray_address == "h:2"
    assert given.ray_token == tmp_path / "t"
    assert given.database_url.database == str(tmp_path / "controller.db")
    for wrong in (["--listen", "nowhere"], ["--pool", "x"], ["--shards", "-1"]):
        with pytest.raises(SystemExit) as caught:
            config(["--home", str(tmp_path), *wrong])
        assert caught.value.code == 2
        assert "Traceback" not in capsys.readouterr().err
    assert "--pool" in parser().format_help()


def test_the_files_of_limits_and_issuers(tmp_path, capsys):
    limits, oidc = tmp_path / "limits.yaml", tmp_path / "oidc.yaml"
    limits.write_text("servers: {calls: 99}\ntenants: {shop: {jobs: 2, weights: {sets: 3}}}")
    given = config(["--home", str(tmp_path), "--limits", str(limits)])
    assert given.limits.of("shop").jobs == 2
    # A driver or a replica hears nothing of other tenants; the parameter service hears all of it.
    [_, calls], [_, weights] = given.calls_argument, given.weights_argument
    assert calls == '{"servers": {"calls": 99}}'
    assert parse_configuration(weights, "--limits", PlatformLimits) == given.limits
    plain = config(["--home", str(tmp_path)])
    assert (plain.calls_argument, plain.weights_argument, plain.oidc) == ((), (), None)
    limits.write_text("servers: {calls: 1}")
    oidc.write_text("issuers: []")
    for option, path, words in (
        ("--limits", limits, "limits.yaml:1:18: `servers.calls` must be at least 16"),
        ("--oidc", oidc, "oidc.yaml:1:10: `issuers` must be at least 1 in number"),
    ):
        with pytest.raises(SystemExit) as caught:
            config(["--home", str(tmp_path), option, str(path)])
        assert caught.value.code == 2
        assert words in capsys.readouterr().err
