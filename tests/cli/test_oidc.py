"""A token of an OIDC issuer on the command line, and the files of `tessera up`."""

from __future__ import annotations

import json
import re
import sys

import pytest
from in_process import InProcessPlatform
from oidc_issuer import OidcIssuer
from sources import ROOT

from tessera.rpc.policy.oidc import OidcConfig
from tessera.spec.configuration import parse_configuration

DOCUMENT = ROOT / "docs" / "oidc.md"

GOOD = """\
issuers:
- url: https://issuer.example
  audiences: [tessera]
  username: {prefix: "corp:"}
  access:
  - {when: {groups: ml}, tenant: shop, role: submitter}
"""


@pytest.fixture(scope="module")
def issuer():
    with OidcIssuer() as running:
        yield running


@pytest.fixture
def against(tessera, monkeypatch, tmp_path, issuer):
    """Runs a command line against a platform that believes the issuer, with no token."""
    for name in ("FILE", "COMMAND"):
        monkeypatch.delenv(f"TESSERA_OIDC_TOKEN_{name}", raising=False)
    with InProcessPlatform(tmp_path / "platform", oidc=issuer.trusted()) as running:
        monkeypatch.setenv("TESSERA_ADDRESS", running.address)
        yield tessera


@pytest.mark.processes
def test_it_lets_one_in_by_file_command_and_variable(against, issuer, monkeypatch, tmp_path):
    path = tmp_path / "token"
    path.write_text(issuer.sign())
    assert against("tenants").code == 1
    command = f"{sys.executable} -c \"print(open('{path}').read())\""
    for option in (f"--oidc-token-file={path}", f"--oidc-token-command={command}"):
        done = against("tenants", option, "--output", "json")
        assert [one["name"] for one in json.loads(done.out)] == ["default"], done.err
    monkeypatch.setenv("TESSERA_OIDC_TOKEN", issuer.sign())
    assert against("jobs").code == 0
    monkeypatch.setenv("TESSERA_OIDC_TOKEN_FILE", str(path))
    monkeypatch.delenv("TESSERA_OIDC_TOKEN")
    assert against("jobs").code == 0
    path.write_text(issuer.sign(aud="other"))
    done = against("jobs")
    assert (done.code, done.err) == (
        1, "tessera: the OIDC token is for another audience than tessera\n",
    )  # fmt: skip
    path.unlink()
    done = against("jobs")
    assert done.code == 2
    assert done.err == (
        f"tessera: the OIDC token in {path} cannot be read: No such file or directory\n"
    )


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (GOOD.replace("audiences", "audience"), "3:3: unknown field `audience` in `issuers[0]`"),
        (GOOD.replace("https", "http"), "2:8: `issuers[0].url` must be an https:// URL"),
        (GOOD.replace("submitter", "king"), "6:46: `issuers[0].access[0].role` must be one of"),
        (GOOD.replace(' {prefix: "corp:"}', " {}"), "4:13: `issuers[0].username.prefix` is miss"),
        (GOOD.replace("tenant: shop, ", ""), "6:5: `issuers[0].access[0].tenant` or `tenant_"),
        (
            GOOD.replace("when: {groups: ml}, ", "").replace("submitter", "operator"),
            "6:26: `issuers[0].access[0].role` is operator for every token of the issuer",
        ),
    ],
)
def test_up_names_the_field_that_is_wrong(tessera, tmp_path, text, line):
    path = tmp_path / "oidc.yaml"
    path.write_text(text)
    done = tessera("up", "--oidc", str(path))
    assert done.code == 2
    assert done.err.startswith(f"tessera: {path}:{line}"), done.err
    assert len(done.err.splitlines()) == 1
    assert not (tmp_path / "no-home").exists()


def test_up_names_the_limit_that_is_wrong(tessera, tmp_path):
    path = tmp_path / "limits.yaml"
    for text, line in (
        ("tenant: {jobs: 0}", "1:16: `tenant.jobs` must be at least 1; here is 0"),
        ("tenant: {job: 1}", "1:10: unknown field `job` in `tenant`; did you mean `jobs`?"),
        ("tenants: {shop: {jobs: many}}", "1:24: `tenants[shop].jobs` must be a whole number"),
        ("servers: {messages: {bytes: 1}}", "1:29: `servers.messages.bytes` must be at least"),
    ):
        path.write_text(text)
        done = tessera("up", "--limits", str(path))
        assert done.code == 2
        assert done.err.startswith(f"tessera: {path}:{line}"), done.err
        assert len(done.err.splitlines()) == 1


def test_up_names_a_certificate_authority_that_is_none(tessera, tmp_path):
    path = tmp_path / "oidc.yaml"
    path.write_text(f"{GOOD}  certificate_authority: {path}\n")
    done = tessera("up", "--oidc", str(path))
    assert done.code == 2
    assert done.err.startswith(f"tessera: issuers[0].certificate_authority: {path} holds no cert")


def test_the_examples_of_the_document_are_read():
    blocks = re.findall(r"```yaml\n(issuers:.*?)```", DOCUMENT.read_text(), re.DOTALL)
    assert len(blocks) == 2
    read = [parse_configuration(block, "oidc.md", OidcConfig) for block in blocks]
    company, cluster = (config.issuers[0] for config in read)
    ada = {"email": "ada@corp.example", "hd": "corp.example", "groups": ["x", "ml-shop"]}
    assert company.principal_of(ada).tenant == "shop"
    pod = {"namespace": "shop", "serviceaccount": {"name": "trainer"}}
    claims = {"sub": "system:serviceaccount:shop:trainer", "kubernetes.io": pod}
    assert cluster.principal_of(claims).subject == "k8s:system:serviceaccount:shop:trainer"
