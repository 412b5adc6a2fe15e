"""Layout, secrets, lock and purge of a home."""

from __future__ import annotations

import stat
import subprocess
import sys

import pytest

from tessera import errors
from tessera.local.home import Home
from tessera.rpc.identity import Issuer, Verifier


@pytest.fixture
def home(tmp_path) -> Home:
    made = Home(tmp_path / "home")
    made.prepare("ada")
    return made


def test_secrets_are_private_and_the_token_is_the_users(home):
    for path in (home.token_path, home.ray_token_path, home.key_path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(home.path.stat().st_mode) == 0o700
    issuer = Issuer(home.key_path.read_bytes())
    principal = Verifier([issuer.public_key()]).verify(home.token_path.read_text())
    assert (principal.subject, principal.role, principal.tenant) == ("ada", "user", "default")


def test_preparing_again_keeps_what_is_there(home):
    before = {p: p.read_bytes() for p in (home.token_path, home.ray_token_path, home.key_path)}
    home.prepare("eve")
    assert before == {p: p.read_bytes() for p in before}


def test_a_new_key_makes_a_new_token(home):
    home.key_path.unlink()
    home.prepare("ada")
    issuer = Issuer(home.key_path.read_bytes())
    Verifier([issuer.public_key()]).verify(home.token_path.read_text())


def test_a_folder_with_other_files_is_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(errors.FailedPreconditionError) as refused:
        Home(tmp_path).prepare("ada")
    assert refused.value.reason == "HOME_NOT_EMPTY"
    with pytest.raises(errors.FailedPreconditionError) as refused:
        Home(tmp_path).purge()
    assert refused.value.reason == "NOT_A_HOME"
    assert (tmp_path / "thesis.tex").exists()


def test_a_file_in_the_way_is_a_readable_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(errors.FailedPreconditionError, match="--home") as refused:
        Home(tmp_path / "file" / "home").prepare("ada")
    assert refused.value.reason == "HOME_UNUSABLE"


def test_the_lock_holds_across_processes_and_ends_with_its_holder(home):
    program = (
        "import sys, time; from pathlib import Path; from tessera.local.home import Home\n"
        "with Home(Path(sys.argv[1])).locked():\n print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(home.path)], stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout.readline() == "held\n"
        assert home.is_locked
        with pytest.raises(errors.FailedPreconditionError), home.locked(patience=0.1):
            pass
        holder.kill()
        holder.wait()
    assert not home.is_locked
    with home.locked():
        assert home.is_locked


def test_purge_deletes_what_is_ours_and_names_the_rest(home):
    (home.path / "notes.txt").write_text("mine")
    (home.path / "logs" / "controller.log").write_text("x")
    assert home.purge() == ["notes.txt"]
    (home.path / "notes.txt").unlink()
    home.path.rmdir()


def test_purge_of_a_clean_home_removes_the_folder(home):
    assert home.purge() == []
    assert not home.path.exists()
