"""What Ray is told of TLS: files that belong together, of the platform's authority."""

from __future__ import annotations

import ssl
import stat
from pathlib import Path

import pytest
from cryptography import x509

from tessera import errors
from tessera.local.network import loopback
from tessera.local.options import Options
from tessera.local.ray_tls import ray_tls
from tessera.rpc.tls import certificates


def test_files_that_openssl_takes(tmp_path):
    told = ray_tls(tmp_path)
    assert told["RAY_USE_TLS"] == "1"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(told["RAY_TLS_SERVER_CERT"], told["RAY_TLS_SERVER_KEY"])
    context.load_verify_locations(told["RAY_TLS_CA_CERT"])
    chain = Path(told["RAY_TLS_SERVER_CERT"]).read_bytes()
    certificates.check_pair(Path(told["RAY_TLS_SERVER_KEY"]).read_bytes(), chain)
    found = x509.load_pem_x509_certificate(chain).extensions
    named = found.get_extension_for_class(x509.SubjectAlternativeName).value
    assert loopback() in map(str, named.get_values_for_type(x509.IPAddress))
    assert stat.S_IMODE(Path(told["RAY_TLS_SERVER_KEY"]).stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("given", "option"),
    [
        ({"tls_dir": "x"}, "--tls-dir"),
        ({"ray_tls": True}, "--ray-tls"),
        ({"tls": True, "ray_tls": True, "ray_address": "a:1", "dashboard": "http://a"}, "attaches"),
    ],
)
def test_options_that_mean_nothing_together(given, option):
    with pytest.raises(errors.InvalidArgumentError, match=option):
        Options(cpus=1, **given)
