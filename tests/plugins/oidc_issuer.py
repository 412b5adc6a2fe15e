"""A small OIDC issuer: an HTTP server on a port of its own, whose keys rotate."""

from __future__ import annotations

import datetime as dt
import ipaddress
import json
import ssl
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from tessera.rpc.policy.oidc import AccessRule, OidcConfig, PersonRole, TrustedIssuer, Username

AUDIENCE = "tessera"
DISCOVERY = "/.well-known/openid-configuration"
KINDS = {
    "RS256": (lambda: rsa.generate_private_key(65537, 2048), RSAAlgorithm),
    "PS256": (lambda: rsa.generate_private_key(65537, 2048), RSAAlgorithm),
    "ES256": (lambda: ec.generate_private_key(ec.SECP256R1()), ECAlgorithm),
    "EdDSA": (ed25519.Ed25519PrivateKey.generate, OKPAlgorithm),
}


def write_certificate(path: Path) -> None:
    """A certificate for 127.0.0.1 that vouches for itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "issuer")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(minutes=1))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM) + private)


class OidcIssuer:
    """Publishes its keys, and signs whatever it is asked to.

    Args:
        certificate: file of its certificate and key; None: it speaks plain HTTP.

    Attributes:
        asked: how often each path was asked for.
        answers: what is answered at a path instead: a status, or bytes.
        discovery: fields of its configuration that are otherwise.
    """

    def __init__(self, certificate: Path | None = None) -> None:
        self._certificate = certificate
        self.asked: Counter[str] = Counter()
        self.answers: dict[str, int | bytes] = {}
        self.discovery: dict[str, Any] = {}
        self.keys: dict[str, Any] = {}
        self.published: list[dict[str, Any]] = []
        self._open(0)
        self.rotate()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def reopen(self) -> None:
        self._open(self._server.server_port)

    def _open(self, port: int) -> None:
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.asked[self.path] += 1
                answer = issuer.answer(self.path)
                status, content = (answer, b"") if isinstance(answer, int) else (200, answer)
                self.send_response(status)
                if status in {301, 302, 307}:
                    self.send_header("location", f"{issuer.url}/elsewhere")
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        scheme = "http"
        if self._certificate is not None:
            scheme, context = "https", ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self._certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        self.url = f"{scheme}://127.0.0.1:{self._server.server_port}"

    def answer(self, path: str) -> int | bytes:
        if path in self.answers:
            return self.answers[path]
        if path == DISCOVERY:
            told = {"issuer": self.url, "jwks_uri": f"{self.url}/keys", **self.discovery}
            return json.dumps(told).encode()
        return json.dumps({"keys": self.published}).encode() if path == "/keys" else 404

    def rotate(self, algorithm: str = "RS256") -> str:
        """A new key, which signs from now on; those of before stay published."""
        make, kind = KINDS[algorithm]
        kid, private = f"key-{len(self.keys)}", make()
        self.keys[kid] = private
        public = json.loads(kind.to_jwk(private.public_key()))
        self.published.append({**public, "kid": kid, "use": "sig", "alg": algorithm})
        self.kid, self.algorithm = kid, algorithm
        return kid

    def claims(self, **claims: Any) -> dict[str, Any]:
        """Those of a good token, but for what is given; None leaves one out."""
        now = int(time.time())
        good = {"iss": self.url, "aud": AUDIENCE, "sub": "ada", "iat": now, "exp": now + 600}
        return {name: value for name, value in {**good, **claims}.items() if value is not None}

    def sign(self, *, headers: dict[str, Any] | None = None, **claims: Any) -> str:
        """A token with these claims, of whatever type."""
        return jwt.PyJWS().encode(
            json.dumps(self.claims(**claims)).encode(),
            self.keys[self.kid],
            algorithm=self.algorithm,
            headers={"kid": self.kid, **(headers or {})},
        )

    def trusted(self, *access: AccessRule, **fields: Any) -> OidcConfig:
        """The configuration of a platform that believes this issuer."""
        rules = access or (AccessRule(tenant="default", role=PersonRole.SUBMITTER),)
        issuer = TrustedIssuer(
            url=self.url,
            audiences=(AUDIENCE,),
            access=rules,
            **{"username": Username(prefix="oidc:"), **fields},
        )
        return OidcConfig(issuers=(issuer,))
