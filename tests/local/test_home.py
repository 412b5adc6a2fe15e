"""Layout, secrets, lock and purge of a home."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tessera import errors
from tessera.client.home import check_readable, find, folder_of
from tessera.local.home import Home
from tessera.rpc.identity import Issuer, Verifier
from tessera.rpc.principal import Principal, Role
from tessera.rpc.tls.authority import Authority


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
    assert principal == Principal(subject="ada", role=Role.OPERATOR)


def test_preparing_again_keeps_what_is_there(home):
    before = {p: p.read_bytes() for p in (home.token_path, home.ray_token_path, home.key_path)}
    home.prepare("eve")
    assert before == {p: p.read_bytes() for p in before}


def test_a_token_that_this_build_does_not_understand_is_made_anew(home):
    home.token_path.write_text("of an earlier build")
    home.prepare("eve")
    issuer = Issuer(home.key_path.read_bytes())
    assert Verifier([issuer.public_key()]).verify(home.token_path.read_text()).subject == "eve"


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


@pytest.mark.processes
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
    Authority.of(home.path)
    assert home.purge() == ["notes.txt"]
    (home.path / "notes.txt").unlink()
    home.path.rmdir()


def test_the_link_leads_to_the_newest_cluster(home, tmp_path):
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        home.lead_to_ray(tmp_path / name)
        assert home.ray_path.resolve() == tmp_path / name
    (tmp_path / "second").rmdir()  # It leads nowhere.
    assert home.purge() == []
    assert not home.path.exists()


def test_purge_of_a_clean_home_removes_the_folder(home):
    assert home.purge() == []
    assert not home.path.exists()


PREPARE = """
import sys
from pathlib import Path
from tessera import errors
from tessera.client.home import check_readable, find, folder_of
from tessera.local.home import Home
try:
    Home(Path(sys.argv[1])).prepare(sys.argv[2])
except errors.TesseraError as error:
    sys.exit(error.message)
"""


@pytest.mark.processes
def test_several_at_once_make_one_home(tmp_path):
    """All agree on the key that signed the token."""
    home = Home(tmp_path / "home")
    together = [
        subprocess.Popen([sys.executable, "-c", PREPARE, str(home.path), f"user-{i}"])
        for i in range(6)
    ]
    assert [process.wait(60) for process in together] == [0] * 6
    issuer = Issuer(home.key_path.read_bytes())
    Verifier([issuer.public_key()]).verify(home.token_path.read_text())


def test_a_home_that_was_only_begun_is_finished(tmp_path):
    (tmp_path / "lock").touch()  # Whoever made it was killed before it wrote.
    Home(tmp_path).prepare("ada")
    assert Home(tmp_path).exists


@pytest.mark.parametrize("name", ["é ü", "a?b#c%20d", "[bold]x[/bold]", "long-" * 40, "'\"$(x)"])
def test_names_of_any_kind(tmp_path, name):
    made = Home(tmp_path / name)
    made.prepare("ada")
    assert made.exists
    with made.locked():
        assert made.is_locked


def test_a_name_that_is_too_long_is_a_readable_error(tmp_path):
    with pytest.raises(errors.FailedPreconditionError, match="too long") as refused:
        Home(tmp_path / ("x" * 300)).prepare("ada")
    assert refused.value.reason == "HOME_UNUSABLE"


def as_nobody(work):
    """What a child says that runs as another user; as the same one where we may not change."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        if os.geteuid() == 0:
            os.setuid(65534)
        try:
            work()
            said = "nothing"
        except errors.TesseraError as error:
            said = f"{error.reason}: {error.message}"
        os.write(writing, said.encode())
        os._exit(0)
    os.waitpid(child, 0)
    os.close(writing)
    with os.fdopen(reading) as file:
        return file.read()


@pytest.mark.processes
@pytest.mark.parametrize("closed", ["", "token", "state.json"])
def test_the_home_of_another_user(closed):
    folder = Path(tempfile.mkdtemp())
    home = Home(folder / "home")
    home.prepare("ada")
    home.state_path.write_text("{}")
    for path in (folder, home.path):
        path.chmod(0o755)
    (home.path / closed).chmod(0)
    try:
        said = as_nobody(lambda: check_readable(home.path))
        assert said.startswith(f"HOME_UNUSABLE: {home.path}")
        assert "cannot be read" in said
        assert "--home" in said
        assert said == as_nobody(lambda: find(None, None, home.path))
    finally:
        (home.path / closed).chmod(0o700)
    check_readable(home.path)
    shutil.rmtree(folder)


def test_a_user_without_a_home(monkeypatch):
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("pwd.getpwuid", lambda _: (_ for _ in ()).throw(KeyError))
    with pytest.raises(errors.FailedPreconditionError, match="--home") as refused:
        folder_of(None)
    assert refused.value.reason == "HOME_UNUSABLE"
    assert find("h:1", None, None).token == ""
