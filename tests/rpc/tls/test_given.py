"""A certificate that others renew: read again, and never half written."""

from __future__ import annotations

import subprocess

import pytest
from tls_servers import KINDS, ask, authority

from tessera import errors
from tessera.rpc.tls.given import CERTIFICATE, KEY, ROOTS, GivenCertificate
from tessera.rpc.tls.identity import Listener, Tls


def write(folder, identity, names=(CERTIFICATE, KEY, ROOTS)):
    contents = {CERTIFICATE: identity.chain, KEY: identity.key, ROOTS: identity.roots}
    for name in names:
        path = folder / name
        fresh = path.with_suffix(".new")
        fresh.write_bytes(contents[name])
        fresh.replace(path)


def made(*names, ours=None):
    return (ours or authority()).identity([*names, "127.0.0.1"], seconds=60)


def test_what_is_written_anew_is_shown_at_the_next_handshake(tmp_path):
    one, two = made("one.example"), made("two.example")
    write(tmp_path, one)
    given = GivenCertificate(tmp_path)
    for serve in KINDS.values():
        write(tmp_path, one)
        with serve(Listener(given, mutual=False)) as address:
            ask(address, Tls(one.roots))
            write(tmp_path, two)
            ask(address, Tls(two.roots))
            with pytest.raises(errors.UnavailableError):
                ask(address, Tls(one.roots))


def test_a_half_written_pair_leaves_the_old_one(tmp_path):
    one, two = made("one.example"), made("two.example")
    write(tmp_path, one)
    given = GivenCertificate(tmp_path)
    write(tmp_path, two, [CERTIFICATE])
    assert given().chain == one.chain
    write(tmp_path, two, [KEY])
    assert given().key == two.key
    assert given().chain == two.chain


def test_files_that_are_gone_for_a_moment_leave_the_old_one(tmp_path):
    one = made("one.example")
    write(tmp_path, one)
    given = GivenCertificate(tmp_path)
    (tmp_path / KEY).unlink()
    assert given().chain == one.chain
    write(tmp_path, made("two.example"))
    assert given().chain != one.chain


def test_links_as_kubernetes_swaps_them(tmp_path):
    """A secret is mounted as links to a folder that another one takes the place of."""
    one, two = made("one.example"), made("two.example")
    for number, identity in (("1", one), ("2", two)):
        (tmp_path / number).mkdir()
        write(tmp_path / number, identity)
    (tmp_path / "data").symlink_to("1")
    for name in (CERTIFICATE, KEY, ROOTS):
        (tmp_path / name).symlink_to(f"data/{name}")
    given = GivenCertificate(tmp_path)
    assert given().chain == one.chain
    (tmp_path / "new").symlink_to("2")
    (tmp_path / "new").replace(tmp_path / "data")
    assert given().chain == two.chain


@pytest.mark.parametrize("missing", [CERTIFICATE, KEY, ROOTS])
def test_files_that_are_not_there_are_named(tmp_path, missing):
    write(tmp_path, made("one.example"))
    (tmp_path / missing).unlink()
    with pytest.raises(errors.FailedPreconditionError, match=missing) as caught:
        GivenCertificate(tmp_path)
    assert caught.value.reason == "TLS_FILES_UNUSABLE"


def test_files_that_do_not_belong_together(tmp_path):
    write(tmp_path, made("one.example"))
    write(tmp_path, made("two.example"), [KEY])
    with pytest.raises(errors.FailedPreconditionError, match="not the certificate's"):
        GivenCertificate(tmp_path)


@pytest.mark.processes
def test_a_key_of_rsa_as_other_tools_make_it(tmp_path):
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"]
    command += ["-subj", "/CN=c", "-addext", "subjectAltName=IP:127.0.0.1"]
    command += ["-keyout", tmp_path / KEY, "-out", tmp_path / CERTIFICATE]
    subprocess.run(command, check=True, capture_output=True)
    (tmp_path / ROOTS).write_bytes((tmp_path / CERTIFICATE).read_bytes())
    given = GivenCertificate(tmp_path)
    for serve in KINDS.values():
        with serve(Listener(given, mutual=False)) as address:
            ask(address, Tls(given.roots))
