"""Every method of every service, called by every kind of principal, over sockets."""

from __future__ import annotations

import grpc
import pytest
from google.protobuf import message_factory

from tessera.api.controller.v1 import (
    access_pb2,
    attempt_pb2,
    deployment_pb2,
    job_pb2,
    node_pb2,
    pool_pb2,
    queue_pb2,
    registry_pb2,
    usage_pb2,
)
from tessera.api.inference.v1 import inference_pb2
from tessera.api.parameters.v1 import coordinator_pb2, shard_pb2
from tessera.api.trainer.v1 import trainer_pb2
from tessera.rpc.channel import bearer
from tessera.rpc.door import Door
from tessera.rpc.identity import Issuer, Verifier
from tessera.rpc.policy.rule import Kind, Owner
from tessera.rpc.policy.table import TABLE
from tessera.rpc.principal import Principal, Role
from tessera.rpc.server import Server
from tessera.rpc.status import from_rpc_error

FILES = (
    access_pb2,
    attempt_pb2, deployment_pb2, job_pb2, node_pb2, pool_pb2, queue_pb2, registry_pb2, usage_pb2,
    inference_pb2, coordinator_pb2, shard_pb2, trainer_pb2,
)  # fmt: skip
METHODS = {
    f"/{service.full_name}/{method.name}": method
    for file in FILES
    for service in file.DESCRIPTOR.services_by_name.values()
    for method in service.methods
}
REVOKED = "revoked-token"
OWNER = Owner(tenant="a", job="job-1", attempt=1, deployment="chat")


def attempt(tenant="a", job="job-1", number=1, name="s"):
    return Principal(
        subject=f"attempt:{job}/{number}",
        role=Role.ATTEMPT,
        tenant=tenant,
        job=job,
        attempt=number,
        writes=f"{tenant}/{name}",
    )


def replica(tenant="a", deployment="chat", name="s"):
    return Principal(
        subject=f"replica:{tenant}/{deployment}",
        role=Role.REPLICA,
        tenant=tenant,
        deployment=deployment,
        reads=(f"{tenant}/{name}",),
    )


def at_driver(tenant="a", job="job-1", number=1):
    return Principal(
        subject="controller", role=Role.CONTROLLER, tenant=tenant, job=job, attempt=number
    )


CALLERS = {
    **{
        f"{role} of {tenant}": Principal(subject="x", role=role, tenant=tenant)
        for role in (Role.VIEWER, Role.SUBMITTER, Role.ADMIN, Role.OPERATOR)
        for tenant in ("a", "b")
    },
    "attempt": attempt(),
    "attempt before": attempt(number=2),
    "attempt of another job": attempt(job="job-2", name="t"),
    "attempt of b": attempt(tenant="b", job="job-3"),
    "replica": replica(),
    "replica of another deployment": replica(deployment="other", name="t"),
    "replica of b": replica(tenant="b"),
    "shard": Principal(subject="shard-0", role=Role.SHARD, tenant=""),
    "another shard": Principal(subject="shard-1", role=Role.SHARD, tenant=""),
    "coordinator": Principal(subject="coordinator", role=Role.COORDINATOR, tenant=""),
    "controller at this driver": at_driver(),
    "controller": Principal(subject="controller", role=Role.CONTROLLER, tenant=""),
    "controller at another driver": at_driver(job="job-2"),
    "controller at the driver before": at_driver(number=2),
    "controller at b's driver": at_driver(tenant="b"),
}
ELSEWHERE = {name for name in CALLERS if name.startswith("controller")}
ELSEWHERE -= {"controller at this driver"}
OTHERS = {name for name in CALLERS if name.endswith(" of b")}
STRANGERS = OTHERS | {"attempt of another job", "replica of another deployment"}
REFUSED = {
    Kind.READ_SET: STRANGERS,
    Kind.WRITE_SET: STRANGERS,
    Kind.ATTEMPT: {"attempt before", "attempt of another job", "attempt of b"},
    Kind.SERVER: STRANGERS | {"attempt before"} | ELSEWHERE,
    Kind.TENANT: {"admin of b"},
    Kind.SCOPED: set(),
}
"""Who is refused by what a request names, though its role may call."""
ENDPOINTS = {
    "ROLE_TRAINER": ("job-1", {"attempt", "attempt before"}),
    "ROLE_REPLICA": ("chat/0", {"replica", "replica of b"}),
    "ROLE_SHARD": ("shard-0", {"shard"}),
    "ROLE_COORDINATOR": ("coordinator", {"coordinator"}),
}
"""What an endpoint is called, and who may say that it is that; b's has a place of its own."""

SET = {"set": "a/s"}
STORE = "0" * 32
REF = {"ref": {"job": "job-1", "attempt": 1}}
PUBLIC = {"ExchangeTicket", "RenewToken", "ExchangeOidcToken", "GetKeys"}
BOOT = f"{0:08x}-0000-0000-0000-{0:012x}"
EXAMPLES = {
    "CreateToken": {"tenant": "a", "role": 1, "subject": "x", "ttl": {"seconds": 60}},
    "RevokeToken": {"tenant": "a", "id": "0123456789abcdef"},
    "Register": {
        "endpoint": {"name": "shard-0", "role": 2, "incarnation": "i", "control_address": "h:1"}
    },
    "AppendLogs": {**REF, "source": "driver", "first_line": 1},
    "AcquireWriter": {**SET, "job": "job-1", "attempt": 1},
    "PushSlices": {"target": {**SET, "grant": "g"}},
    "OpenPieces": {**SET, "pieces": ["p"], "boot_id": BOOT},
    "ShareMemory": {"target": {**SET, "grant": "g"}, "boot_id": BOOT},
    "PersistVersion": {**SET, "store": STORE},
    "DropVersion": {**SET, "store": STORE},
    "RecordVersion": {**SET, "store": STORE, "keep": 1, "manifest": {"version": SET}},
    "RecordHead": {**SET, "store": STORE, "move": {"version": 1}},
    "RollbackSet": {**SET, "version": 1},
    "PinVersion": {**SET, "version": 1, "owner": "o", "ttl": {"seconds": 5}},
}
"""Requests whose resource is elsewhere than in `set` or `ref`, or that need more."""


def request_of(method):
    """A request that names what is the first caller's, with whatever of its fields is known."""
    kind = message_factory.GetMessageClass(method.input_type)
    fields = method.input_type.fields_by_name
    own = SET | REF | {"tenant": "a"}
    known = EXAMPLES.get(method.name) or {name: own[name] for name in own if name in fields}
    return kind(**known)


def empty_answer(method):
    """Serves a method by an empty answer."""
    request = message_factory.GetMessageClass(method.input_type)
    answer = message_factory.GetMessageClass(method.output_type)

    async def one(given, _context):
        if method.client_streaming:
            [_ async for _ in given]
        return answer()

    async def many(given, _context):
        if method.client_streaming:
            [_ async for _ in given]
        yield answer()

    make = {
        (False, False): grpc.unary_unary_rpc_method_handler,
        (False, True): grpc.unary_stream_rpc_method_handler,
        (True, False): grpc.stream_unary_rpc_method_handler,
        (True, True): grpc.stream_stream_rpc_method_handler,
    }[method.client_streaming, method.server_streaming]
    behaviour = many if method.server_streaming else one
    return make(behaviour, request.FromString, answer.SerializeToString)


@pytest.fixture
def issuer():
    return Issuer(Issuer.generate_key())


@pytest.fixture
async def ask(issuer):
    """Calls a method as somebody; returns the error's status and reason, or nothing."""
    names = {path.split("/")[1] for path in METHODS}
    verifier = Verifier([issuer.public_key()], "controller")
    verifier.update([issuer.public_key()], [REVOKED])
    door = Door(verifier, owner=OWNER)
    server = Server(door, [(name, lambda _: None) for name in names])
    for name in names:
        handlers = {
            method.name: empty_answer(method)
            for path, method in METHODS.items()
            if path.split("/")[1] == name
        }
        server._server.add_registered_method_handlers(name, handlers)
    port = await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as connection:

        async def call(path, token, request=None):
            method = METHODS[path]
            sent = (request or request_of(method)).SerializeToString()
            shape = (
                ("stream" if method.client_streaming else "unary")
                + "_"
                + ("stream" if method.server_streaming else "unary")
            )
            given = iter([sent]) if method.client_streaming else sent
            running = getattr(connection, shape)(path)(given, metadata=bearer(token), timeout=10)
            try:
                if method.server_streaming:
                    [_ async for _ in running]
                else:
                    await running
            except grpc.RpcError as error:
                return error.code(), from_rpc_error(error).reason
            return None

        yield call
    await server.drain(grace=0)


def test_the_table_has_exactly_the_methods_that_there_are():
    assert TABLE.keys() == METHODS.keys()


def test_a_server_with_a_method_that_has_no_row_does_not_start(issuer):
    verifier = Verifier([issuer.public_key()])
    rows = {path: rule for path, rule in TABLE.items() if not path.endswith("/CancelJob")}
    with pytest.raises(KeyError, match="CancelJob"):
        Door(verifier, table=rows).cover(["tessera.api.controller.v1.JobService"])


def test_examples_are_of_methods_that_there_are():
    assert EXAMPLES.keys() <= {path.rpartition("/")[2] for path in METHODS}


async def test_without_a_valid_token_nothing_but_tickets_and_keys(ask, issuer):
    stranger = Issuer(Issuer.generate_key())
    operator = CALLERS["operator of a"]
    tokens = {
        "": "TOKEN_MISSING",
        "nonsense": "TOKEN_INVALID",
        stranger.issue(operator): "TOKEN_INVALID",
        issuer.issue(operator, ttl=-1): "TOKEN_EXPIRED",
        issuer.issue(operator, token_id=REVOKED): "TOKEN_REVOKED",
        issuer.issue(operator, audience=["inference"]): "TOKEN_AUDIENCE",
    }
    for path in METHODS:
        public = path.rpartition("/")[2] in PUBLIC
        for token, reason in tokens.items():
            refusal = await ask(path, token)
            if public:
                assert refusal is None or refusal[0] is not grpc.StatusCode.UNAUTHENTICATED
            else:
                assert refusal == (grpc.StatusCode.UNAUTHENTICATED, reason), path


@pytest.mark.parametrize("name", CALLERS)
async def test_who_may_call_what(ask, issuer, name):
    caller, token = CALLERS[name], issuer.issue(CALLERS[name])
    for path, rule in TABLE.items():
        kinds = [resource.kind for resource in rule.resources]
        if Kind.ENDPOINT in kinds:
            continue
        refusal = await ask(path, token)
        if Role.ANONYMOUS not in rule.roles and caller.role not in rule.roles:
            assert refusal == (grpc.StatusCode.PERMISSION_DENIED, "ROLE_DENIED"), path
        elif any(name in REFUSED[kind] for kind in kinds):
            assert refusal is not None, path
            assert refusal[0] is grpc.StatusCode.PERMISSION_DENIED, (path, refusal)
            assert refusal[1].startswith("OTHER_"), (path, refusal)
        else:
            assert refusal is None or refusal[0] is grpc.StatusCode.INVALID_ARGUMENT, (
                path, refusal,
            )  # fmt: skip


@pytest.mark.parametrize("name", CALLERS)
async def test_who_may_say_that_it_is_which_endpoint(ask, issuer, name):
    caller, token = CALLERS[name], issuer.issue(CALLERS[name])
    prefix = "/tessera.api.controller.v1.RegistryService/"
    for role, (called, allowed) in ENDPOINTS.items():
        number = registry_pb2.Role.Value(role)
        endpoint = registry_pb2.Endpoint(
            role=number, name=called, incarnation="i", control_address="h:1"
        )
        requests = {
            "Register": registry_pb2.RegisterRequest(endpoint=endpoint),
            "Heartbeat": registry_pb2.HeartbeatRequest(role=number, name=called, incarnation="i"),
            "Deregister": registry_pb2.DeregisterRequest(role=number, name=called, incarnation="i"),
        }
        for method, request in requests.items():
            refusal = await ask(prefix + method, token, request)
            if name in allowed:
                assert refusal is None
            else:
                reason = "OTHER_ENDPOINT"
                if caller.role not in TABLE[prefix + method].roles:
                    reason = "ROLE_DENIED"
                assert refusal == (grpc.StatusCode.PERMISSION_DENIED, reason)


@pytest.mark.parametrize("raw", [b"\x08", b"\xff" * 40, b"\x0a\xff\xff\xff\x7f"])
async def test_what_is_no_message_is_the_callers_mistake(ask, issuer, raw):
    class Raw:
        def SerializeToString(self):
            return raw

    tokens = {role: issuer.issue(caller) for role, caller in by_role().items()}
    for path, rule in TABLE.items():
        token = next((tokens[role] for role in tokens if role in rule.roles), "")
        refusal = await ask(path, token, Raw())
        assert refusal is not None, path
        assert refusal[0] is grpc.StatusCode.INVALID_ARGUMENT, (path, refusal)


def by_role():
    """The first caller of every role: the one whose everything is."""
    return {caller.role: caller for caller in reversed(CALLERS.values())}
