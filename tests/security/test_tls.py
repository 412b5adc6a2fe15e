"""Who may stand where: certificates of the platform, in hands that they are not meant for."""

from __future__ import annotations

import contextlib
import pickle
import socket

import grpc
import pytest
from cryptography import x509
from in_process import InProcessPlatform
from tls_servers import ask, authority, check, of_asyncio, of_threads

from tessera import errors
from tessera.api.controller.v1 import registry_pb2, registry_pb2_grpc
from tessera.client import Client
from tessera.parameters.local import start_parameters
from tessera.rpc import credentials
from tessera.rpc.channel import bearer, channel, mapped_errors
from tessera.rpc.credentials import Credentials, request_identity
from tessera.rpc.principal import Principal, Role
from tessera.rpc.tls import certificates, failure, names
from tessera.rpc.tls.identity import Listener, Tls, listener_of
from tessera.rpc.token import tls_of
from tessera.weights.directory import find

ATTEMPT = {"subject": "attempt:j/1", "role": Role.ATTEMPT, "job": "j", "attempt": 1}


@pytest.fixture(scope="module")
def platform(tmp_path_factory):
    """A controller with TLS, a coordinator and two shards."""
    home = tmp_path_factory.mktemp("home")
    with InProcessPlatform(home, tls=True) as running:
        roots = running.controller.runtime.trust.roots
        shown = [Credentials(running.address, token, roots) for token in running.node_tokens()]
        running.parameters = start_parameters(running.address, shown, home / "parameters")
        running.roots = roots
        (home / "ca.crt").write_bytes(roots)
        yield running


@pytest.fixture
def shown(platform):
    """What a workload or a person shows, and proves itself with."""

    def make(**principal):
        return Credentials(platform.address, platform.issue(**principal), platform.roots)

    return make


def addresses(platform, shown):
    """Control of the coordinator, control and data of a shard, each with the name it proves."""
    operator = shown(subject="ada", role=Role.OPERATOR)
    address = platform.address
    coordinator = find(address, operator, registry_pb2.ROLE_COORDINATOR, "coordinator")
    shard = find(address, operator, registry_pb2.ROLE_SHARD, "shard-0")
    return {
        coordinator.control_address: names.coordinator_name(),
        shard.control_address: names.shard_server_name("shard-0"),
        shard.data_address: names.shard_server_name("shard-0"),
    }


@pytest.mark.waits
def test_people_and_workloads_reach_what_is_theirs(platform, shown):
    for principal in (ATTEMPT, {"subject": "ada", "role": Role.OPERATOR}):
        for address, name in addresses(platform, shown).items():
            with channel(address, shown(**principal).tls, name) as connection:
                grpc.channel_ready_future(connection._channels.now).result(10)
    with Client(platform.address, platform.token, ca=platform.home / "ca.crt") as client:
        assert client.sets() == []


def test_a_shard_at_anothers_address_is_refused(platform, shown):
    tls = shown(**ATTEMPT).tls
    for address, name in addresses(platform, shown).items():
        if "shard-0" in name:
            with pytest.raises(errors.UnavailableError) as caught:
                ask(address, tls, names.shard_server_name("shard-1"))
            assert caught.value.reason == failure.WRONG_NAME


def test_an_attempt_cannot_pose_as_a_shard_or_as_another_attempt(platform, shown):
    impostor = shown(**ATTEMPT).tls
    victim = shown(**{**ATTEMPT, "subject": "attempt:k/1", "job": "k"}).tls
    expected = [
        names.shard_server_name("shard-0"),
        names.coordinator_name(),
        names.attempt_name("default", "k", 1),
        names.attempt_name("default", "j", 2),
        names.attempt_name("other", "j", 1),
    ]
    with of_asyncio(listener_of(impostor)) as address:
        ask(address, victim, names.attempt_name("default", "j", 1))
        for name in expected:
            with pytest.raises(errors.UnavailableError) as caught:
                ask(address, victim, name)
            assert caught.value.reason == failure.WRONG_NAME


@pytest.mark.parametrize("role", [Role.VIEWER, Role.OPERATOR])
def test_a_persons_certificate_serves_nothing(platform, shown, role):
    """Not even under the name that it bears: it is for calling alone."""
    person = shown(subject="shard-0", role=role)
    mine = names.name_of(Principal(subject="shard-0", role=role))
    with of_threads(listener_of(person.tls)) as address:
        for name in (mine, names.shard_server_name("shard-0")):
            with pytest.raises(errors.UnavailableError) as caught:
                ask(address, shown(**ATTEMPT).tls, name)
            assert caught.value.reason == failure.WRONG_NAME


def test_a_mutual_listener_lets_nobody_in_without_a_certificate_of_the_platform(platform, shown):
    ours = shown(**ATTEMPT).tls.identity
    stranger, expired = authority(), authority()
    callers = {
        "of another authority": stranger.identity(["x.example"], seconds=60),
        "its own authority": expired.identity(["x.example"], seconds=-60),
    }
    for address, name in addresses(platform, shown).items():
        for identity in callers.values():
            with refused(), channel(address, _Posing(identity, ours.roots), name) as connection:
                check(connection)
        credentials_ = grpc.ssl_channel_credentials(ours.roots)
        options = [("grpc.ssl_target_name_override", name)]
        with refused(), grpc.secure_channel(address, credentials_, options) as connection:
            check(connection)
        with refused(), grpc.insecure_channel(address) as connection:
            check(connection)


def test_an_expired_certificate_of_the_platform_lets_nobody_in(platform, shown):
    ours = platform.controller.runtime.trust.encryption._authority
    for address, name in addresses(platform, shown).items():
        expired = ours.identity(["x.example"], seconds=-1)
        with refused(), channel(address, _Posing(expired, ours.certificate), name) as connection:
            check(connection)


def test_what_a_request_asks_for_is_not_looked_at(platform):
    """The names are those of the token, whatever the request says."""
    key = certificates._private(certificates.new_key())
    wanted = names.shard_server_name("shard-0")
    request = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, wanted[:64])]))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(wanted)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, certificates.hashes.SHA256())
        .public_bytes(certificates.serialization.Encoding.PEM)
    )
    reply = issue(platform, request, platform.issue(**ATTEMPT))
    made = x509.load_pem_x509_certificate(reply.certificate)
    named = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert named.get_values_for_type(x509.DNSName) == [names.attempt_name("default", "j", 1)]
    assert not made.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


@pytest.mark.parametrize(
    ("token", "status"),
    [("", errors.UnauthenticatedError), ("nonsense", errors.UnauthenticatedError)],
)
def test_without_a_token_nothing_is_certified(platform, token, status):
    with pytest.raises(status):
        issue(platform, certificates.new_request(certificates.new_key()), token)


def test_a_request_that_proves_no_key_is_refused(platform):
    with pytest.raises(errors.InvalidArgumentError) as caught:
        issue(platform, b"-----BEGIN CERTIFICATE REQUEST-----", platform.token)
    assert caught.value.reason == "CERTIFICATE_REQUEST_INVALID"


def test_a_certificate_that_a_workload_got_signs_no_others(platform, shown):
    """It is no authority: what it signs is believed by nobody."""
    mine = shown(**ATTEMPT).tls.identity
    key = certificates.new_key()
    made = certificates.sign(
        (mine.key, mine.chain),
        certificates.public_key(key),
        [names.shard_server_name("shard-0")],
        seconds=60,
        server=True,
    )
    forged = Tls(mine.roots, None)
    forged.adopt(type(mine)(key=key, chain=made + mine.chain, roots=mine.roots, seconds=60))
    with of_threads(Listener(lambda: forged.last)) as address:
        with pytest.raises(errors.UnavailableError) as caught:
            ask(address, shown(**ATTEMPT).tls, names.shard_server_name("shard-0"))
        assert caught.value.reason in {failure.UNKNOWN_AUTHORITY, failure.WRONG_NAME}


def test_what_goes_to_another_process_carries_no_key(platform, shown):
    before = shown(**ATTEMPT)
    key = before.tls.identity.key
    told = pickle.dumps(before)
    assert b"PRIVATE KEY" not in told
    after = pickle.loads(told)
    assert after.tls.identity.key != key
    assert "PRIVATE" not in repr((before, before.tls, before.tls.identity))


def test_with_the_next_token_comes_the_next_certificate(platform, shown, monkeypatch):
    monkeypatch.setattr(credentials, "PAUSE_SECONDS", 0.0)
    mine = shown(subject="coordinator", role=Role.COORDINATOR)
    first = mine.tls.identity
    mine._expires = mine._due = 0.0
    assert mine.token
    assert mine.tls.identity.chain != first.chain
    assert mine.tls.identity.key != first.key


def test_a_workload_that_finds_another_controller_says_which_way(platform, shown):
    strange = authority()
    with pytest.raises(errors.UnavailableError) as caught:
        request_identity(platform.address, Tls(strange.certificate), platform.token)
    assert caught.value.reason == failure.UNKNOWN_AUTHORITY


def test_in_clear_the_controller_hears_nothing(platform):
    """A byte that begins no handshake ends the connection."""
    host, _, port = platform.address.partition(":")
    with socket.create_connection((host, int(port)), timeout=10) as plain:
        plain.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            assert plain.recv(4096)[:1] != b"\0", "it answers with a frame of HTTP/2"


def test_a_platform_without_tls_certifies_nobody(tmp_path):
    with InProcessPlatform(tmp_path) as plain:
        with pytest.raises(errors.FailedPreconditionError) as caught:
            issue(plain, certificates.new_request(certificates.new_key()), plain.token)
        assert caught.value.reason == "TLS_OFF"
        assert not (tmp_path / "controller" / "tls").exists()


def issue(platform, request: bytes, token: str):
    roots = getattr(platform, "roots", b"")
    tls = tls_of(credentials.shown(platform.address, token, roots))
    with channel(platform.address, tls) as connection, mapped_errors():
        return registry_pb2_grpc.IdentityServiceStub(connection).IssueCertificate(
            registry_pb2.IssueCertificateRequest(request=request),
            metadata=bearer(token),
            timeout=10,
        )


def refused():
    return pytest.raises(grpc.RpcError, match="UNAVAILABLE")


class _Posing(Tls):
    """Believes the platform, and shows whatever it has."""

    def __init__(self, identity, roots):
        super().__init__(roots, lambda: identity)
        self._shown = type(identity)(
            key=identity.key, chain=identity.chain, roots=roots, seconds=identity.seconds
        )

    @property
    def identity(self):
        return self._shown
