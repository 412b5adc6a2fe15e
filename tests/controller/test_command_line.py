"""The command line of the controller."""

from __future__ import annotations

import pytest

from tessera.controller.__main__ import config, parser


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
