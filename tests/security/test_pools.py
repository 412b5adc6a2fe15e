"""A pool's token goes to that pool's address alone; where pools are is the operators' to know."""

from __future__ import annotations

import threading
from dataclasses import replace
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import controllers
import grpc
import pytest
from migrated import migrated

from tessera.api.controller.v1 import pool_pb2 as pb
from tessera.controller.app import Controller
from tessera.controller.config import Config
from tessera.controller.policy import quotas
from tessera.controller.policy.demand import Demand
from tessera.controller.policy.records import Deployment, Pool
from tessera.controller.scheduling.node import UNKNOWN_MEMORY, Node
from tessera.controller.store import deployments, placement
from tessera.controller.store.schema import deployments as table
from tessera.rpc.channel import aio_channel
from tessera.rpc.principal import Role
from tessera.rpc.status import from_rpc_error

WAIT = 20


class Listener:
    """Whoever stands at an address: keeps what it is told, and may send callers elsewhere."""

    def __init__(self):
        self.heard, self.elsewhere, listener = [], "", self

        class Answer(BaseHTTPRequestHandler):
            def do_GET(self):
                listener.heard.append(self.headers.get("authorization"))
                self.send_response(307 if listener.elsewhere else 404)
                if listener.elsewhere:
                    self.send_header("location", listener.elsewhere)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        # It ends as soon as it is asked to, not half a second later.
        serve = partial(self.server.serve_forever, poll_interval=0.01)
        threading.Thread(target=serve, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    @property
    def tokens(self):
        """What it was told since this was last asked."""
        heard, self.heard = self.heard, []
        return set(heard)


@pytest.fixture
def listeners():
    three = [Listener() for _ in range(3)]
    yield three
    for each in three:
        each.server.shutdown()
        each.server.server_close()


@pytest.fixture
async def platform(tmp_path, listeners):
    """A controller of one pool by --pool, with a token, and secrets that operators may name."""
    home = tmp_path / "home"
    (home / "secrets").mkdir(parents=True)
    (home / "secrets" / "far").write_text("token of far\n")
    (tmp_path / "outside").write_text("not a secret of pools\n")
    (tmp_path / "ray").write_text("token of local\n")
    config = Config(
        host="127.0.0.1",
        port=0,
        home=home,
        pools=(Pool(name="local", dashboard_url=listeners[0].url, ray_address="h:1"),),
        ray_token=tmp_path / "ray",
        secrets={"TESSERA_SECRET_FAR": "token in the environment"},
    )
    running = controllers.Running(home=home)

    async def start():
        running.controller = Controller(config, run_loops=False)
        migrated(home / "controller.db")
        running.channel = aio_channel(f"127.0.0.1:{await running.controller.start()}")

    running.open = start
    await start()
    yield running
    await running.close()


def register(platform, name, url, user=None, **token):
    pool = pb.Pool(name=name, dashboard_url=url, ray_address="h:1")
    request = pb.RegisterPoolRequest(pool=pool, token=token or None)
    return platform.pools.RegisterPool(request, metadata=user or platform.user(), timeout=WAIT)


async def refusal(call):
    with pytest.raises(grpc.RpcError) as caught:
        await call
    return caught.value.code().name, from_rpc_error(caught.value).reason


async def test_a_token_goes_to_the_address_that_it_was_declared_for(platform, listeners):
    local, far, third = listeners
    assert local.tokens == {"Bearer token of local"}
    await register(platform, "far", far.url)
    assert far.tokens == {None}
    await register(platform, "far", far.url, file="far")
    assert far.tokens == {"Bearer token of far"}
    await register(platform, "far", far.url)
    assert far.tokens == {"Bearer token of far"}
    await register(platform, "far", third.url)
    assert (far.tokens, third.tokens) == (set(), {None})
    await register(platform, "far", third.url, env="TESSERA_SECRET_FAR")
    assert third.tokens == {"Bearer token in the environment"}
    await register(platform, "far", far.url)
    await platform.reopen()
    assert (far.tokens, third.tokens) == ({None}, set())
    assert local.tokens == {"Bearer token of local"}


async def test_a_pool_that_moves_leaves_its_token(platform, listeners):
    local, far, _ = listeners
    assert local.tokens
    await register(platform, "local", far.url)
    assert (local.tokens, far.tokens) == (set(), {None})


async def test_an_address_cannot_send_a_token_on(platform, listeners):
    local, far, third = listeners
    far.elsewhere = third.url
    await register(platform, "far", far.url, file="far")
    assert far.tokens == {"Bearer token of far"}
    assert third.tokens == set()
    assert local.tokens


REFERENCES = [
    {"file": "../outside"},
    {"file": "/etc/passwd"},
    {"file": ".hidden"},
    {"file": ""},
    {"env": "PATH"},
    {"env": "TESSERA_SECRET_"},
]


@pytest.mark.parametrize("token", REFERENCES, ids=str)
async def test_only_secrets_of_pools_can_be_named(platform, listeners, token):
    refused = await refusal(register(platform, "far", listeners[1].url, **token))
    assert refused == ("INVALID_ARGUMENT", "INVALID_FIELD")
    assert listeners[1].heard == []


async def test_a_token_that_is_not_there_stops_the_call(platform, listeners):
    reply = await register(platform, "far", listeners[1].url, file="missing")
    assert not reply.pool.live
    assert "no token" in reply.pool.message
    assert listeners[1].heard == []


@pytest.mark.parametrize(
    "url", ["file:///etc", "ftp://x", "x", "http://a b", "http://" + "a" * 3000]
)
async def test_addresses_that_are_none(platform, url):
    assert await refusal(register(platform, "far", url)) == ("INVALID_ARGUMENT", "INVALID_FIELD")


@pytest.mark.parametrize("role", [Role.VIEWER, Role.SUBMITTER, Role.ADMIN])
async def test_pools_belong_to_operators(platform, listeners, role):
    user = platform.user("eve", "b", role)
    register_local = register(platform, "local", listeners[1].url, user)
    assert await refusal(register_local) == ("PERMISSION_DENIED", "ROLE_DENIED")
    delete = platform.pools.DeletePool(pb.DeletePoolRequest(name="local"), metadata=user)
    assert await refusal(delete) == ("PERMISSION_DENIED", "ROLE_DENIED")
    assert listeners[1].heard == []


async def test_others_see_of_a_pool_what_is_their_own(platform):
    runtime = platform.runtime
    state = runtime.pools.get("local")
    runtime.pools._states["local"] = replace(
        state, nodes=(Node(id="n", cpu=8000, memory=UNKNOWN_MEMORY),), message="at h:1"
    )
    for tenant, cpus in {"a": 2.0, "b": 3.0}.items():
        new = Deployment(
            tenant=tenant,
            name="d",
            owner="x",
            spec="{}",
            demand=Demand(workers=1, cpus=cpus),
            generation="",
        )
        quota = quotas.deployments(runtime.config.limits.tenant)
        await runtime.database.write(deployments.create, new, quota)
        await runtime.database.write(hold, tenant)

    async def shown(role):
        user = platform.user("x", "a", role)
        reply = await platform.pools.ListPools(pb.ListPoolsRequest(), metadata=user, timeout=WAIT)
        return reply.pools[0]

    own = pb.Pool(name="local", total={"CPU": 8.0}, held={"CPU": 2.0})
    for role in (Role.VIEWER, Role.SUBMITTER, Role.ADMIN):
        assert await shown(role) == own
    operators = await shown(Role.OPERATOR)
    assert operators.held["CPU"] == 5.0
    assert operators.dashboard_url
    assert operators.message == "at h:1"


def hold(connection, tenant):
    """What admission does."""
    connection.execute(table.update().where(table.c.tenant == tenant).values(pool="local"))


async def test_a_pool_is_deleted_when_nothing_is_held_on_it(platform, listeners):
    def delete(name):
        request = pb.DeletePoolRequest(name=name)
        return platform.pools.DeletePool(request, metadata=platform.user(), timeout=WAIT)

    await register(platform, "far", listeners[1].url, file="far")
    job = await platform.submit()
    await platform.runtime.database.write(placement.admit, job.id, pool="far")
    assert await refusal(delete("far")) == ("FAILED_PRECONDITION", "POOL_IN_USE")
    await platform.release(job.id)
    await delete("far")
    assert await refusal(delete("far")) == ("NOT_FOUND", "POOL_NOT_FOUND")
    assert await refusal(delete("local")) == ("FAILED_PRECONDITION", "POOL_CONFIGURED")
    await platform.reopen()
    assert [state.pool.name for state in platform.runtime.pools.all()] == ["local"]
    assert listeners[1].tokens == {"Bearer token of far"}
    await register(platform, "far", listeners[1].url)
    assert listeners[1].tokens == {None}
