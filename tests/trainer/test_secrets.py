"""A tenant reaches its own secrets in its pool, and nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tessera.environment import SECRETS_DIR
from tessera.trainer.failure import UserError
from tessera.trainer.mask import HIDDEN, Mask
from tessera.trainer.secrets import MAX_BYTES, SecretSource, install

VALUE = "planted-0123456789"
TENANTS = st.from_regex(r"[a-c]([-a-c]{0,4}[a-c])?", fullmatch=True)
NAMES = st.from_regex(r"[A-C]{1,2}(_[A-C]{1,2}){0,2}", fullmatch=True)


def env(name: str) -> SecretSource:
    return SecretSource(kind="env", name=name)


def file(name: str) -> SecretSource:
    return SecretSource(kind="file", name=name)


@pytest.fixture
def pool(tmp_path):
    """Two tenants' folders, and what lies beside them."""
    root = tmp_path / "secrets"
    for tenant in ("team-a", "team-b"):
        (root / tenant / "hub").mkdir(parents=True)
        (root / tenant / "hub" / "token").write_text(f"{VALUE} of {tenant}\n")
    (tmp_path / "shadow").write_text("root:planted-hash")
    return root


def read(source: SecretSource, tenant: str, environ) -> str:
    return source.read("X", tenant, environ)


def refused(source: SecretSource, tenant: str, environ) -> UserError:
    with pytest.raises(UserError) as caught:
        read(source, tenant, environ)
    assert VALUE not in str(caught.value)
    assert source.name in caught.value.message
    assert [v.field for v in caught.value.violations] == ["secrets[X]"]
    return caught.value


def test_each_gets_its_own(pool):
    environ = {SECRETS_DIR: str(pool), "TESSERA_SECRET_TEAM_A__HUB": "a variable of a"}
    assert read(file("hub/token"), "team-a", environ) == f"{VALUE} of team-a"
    assert read(file("hub/token"), "team-b", environ) == f"{VALUE} of team-b"
    assert read(env("HUB"), "team-a", environ) == "a variable of a"
    assert refused(env("HUB"), "team-b", environ).reason == "SECRET_NOT_FOUND"


@given(TENANTS, NAMES, TENANTS, NAMES)
def test_no_two_tenants_share_a_variable(tenant, name, other, other_name):
    seen = []

    class Environ(dict):
        def get(self, key, default=None):
            seen.append(key)
            return VALUE

    read(env(name), tenant, Environ())
    read(env(other_name), other, Environ())
    assert (seen[0] == seen[1]) == ((tenant, name) == (other, other_name))


@pytest.mark.parametrize(
    ("tenant", "name"),
    [
        ("team-a", "../team-b/hub/token"),
        ("team-a", "hub/../../team-b/hub/token"),
        ("team-a", "/etc/passwd"),
        ("team-a", "hub"),
        ("team-a", "hub/gone"),
        ("team-a", "hub//token"),
        ("team-a", ""),
        ("team-a", "hub/token\0"),
        ("..", "shadow"),
        ("", "team-a/hub/token"),
        (".", "team-a/hub/token"),
        ("team-a/../team-b", "hub/token"),
        ("team-c", "hub/token"),
    ],
)
def test_nothing_beside_it(pool, tenant, name):
    error = refused(file(name), tenant, {SECRETS_DIR: str(pool)})
    assert error.reason == "SECRET_NOT_FOUND"


def test_links_lead_no_further(pool):
    own = pool / "team-a"
    (own / "shadow").symlink_to(pool.parent / "shadow")
    (own / "theirs").symlink_to(pool / "team-b" / "hub", target_is_directory=True)
    (own / "ring").symlink_to(own / "ring")
    environ = {SECRETS_DIR: str(pool)}
    for name in ("shadow", "theirs/token", "ring"):
        assert refused(file(name), "team-a", environ).reason == "SECRET_NOT_FOUND"


def test_a_secret_as_kubernetes_mounts_it(pool):
    """Keys are links over a link to a folder that is another one after each change."""
    mounted = pool / "team-a" / "wandb"
    (mounted / "..2026_01_01").mkdir(parents=True)
    (mounted / "..2026_01_01" / "key").write_text(VALUE)
    (mounted / "..data").symlink_to("..2026_01_01", target_is_directory=True)
    (mounted / "key").symlink_to("..data/key")
    assert read(file("wandb/key"), "team-a", {SECRETS_DIR: str(pool)}) == VALUE


@pytest.mark.parametrize(
    "content", [b"short", b"", b"x" * (MAX_BYTES + 1), b"planted-\0-middle", b"planted-\xff\xfe!"]
)
def test_what_is_none(pool, content):
    (pool / "team-a" / "bad").write_bytes(content)
    error = refused(file("bad"), "team-a", {SECRETS_DIR: str(pool)})
    assert error.reason == "SECRET_UNUSABLE"
    assert "planted" not in error.message


def test_a_rank_has_what_its_job_names_and_nothing_else_of_the_pools(pool):
    environ = {
        SECRETS_DIR: str(pool),
        "TESSERA_SECRET_TEAM_A__HUB": "a variable of a",
        "TESSERA_SECRET_TEAM_A__MORE": "another of a",
        "TESSERA_SECRET_TEAM_B__HUB": "a variable of b",
        "KEPT": "kept",
    }
    mask = Mask()
    install({"TOKEN": env("HUB"), "KEY": file("hub/token")}, "team-a", environ, mask)
    assert environ == {
        SECRETS_DIR: str(pool),
        "KEPT": "kept",
        "TOKEN": "a variable of a",
        "KEY": f"{VALUE} of team-a",
    }
    assert mask(f"a variable of a {VALUE} of team-a") == f"{HIDDEN} {HIDDEN}"


def test_one_that_is_not_there_sets_none(pool):
    environ = {SECRETS_DIR: str(pool)}
    with pytest.raises(UserError, match=r"secrets\[B\]: the pool has no file `gone`"):
        install({"A": file("hub/token"), "B": file("gone")}, "team-a", environ, Mask())
    assert environ == {SECRETS_DIR: str(pool)}
