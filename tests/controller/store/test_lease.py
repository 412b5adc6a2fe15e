"""The lease on both databases: one leads, the next takes over, the old one changes nothing."""

from __future__ import annotations

import asyncio

import postgres_server
import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from migrated import migrated

from tessera import errors
from tessera.controller.policy.lease import TTL_SECONDS, HeldLease
from tessera.controller.store import access
from tessera.controller.store.database import Database

postgres = postgres_server.postgres


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    if request.param == "sqlite":
        return f"sqlite:///{migrated(tmp_path / 'c.db')}"
    return request.getfixturevalue("postgres").migrated()


async def opened(url, address):
    database = Database(url)
    database.address = address
    await database.open()
    return database


def expire(connection):
    connection.execute(sa.text("UPDATE leases SET expires = 0"))


@given(st.floats(0, 1e9), st.floats(-100, 100))
def test_a_lease_is_sure_only_before_its_end(asked, later):
    sure = HeldLease(token=1, asked=asked).surely(asked + later)
    assert not sure or later < TTL_SECONDS


async def test_one_leads_and_whoever_is_replaced_changes_nothing(url):
    a = await opened(url, "a:1")
    b = await opened(url, "b:2")
    assert a.leads
    assert not b.leads
    assert await b.keep() == 0
    assert (await b.leader()).address == "a:1"
    await b.write(access.add_tenant, "of-a-standby")  # What callers ask for needs no lease.
    with pytest.raises(errors.AbortedError), b.leading():
        pass
    with a.leading():
        await a.write(access.add_tenant, "leading")
        await b.write(expire)
        assert await b.keep() == 2
        with pytest.raises(errors.AbortedError) as caught:
            await a.write(access.add_tenant, "fenced")
        assert caught.value.reason == "CONTROLLER_FENCED"
    assert await a.keep() == 0
    with pytest.raises(errors.AbortedError):
        a.check_leads()
    names = {one.name for one in await a.read(access.every_tenant)}
    assert {"leading", "of-a-standby"} <= names
    assert "fenced" not in names
    await b.close()  # Gives the lease back: nobody has to wait for its end.
    assert await a.keep() == 3
    await a.close()


async def test_a_newer_schema_is_refused(url):
    a = await opened(url, "a:1")
    await a.write(lambda c: c.execute(sa.text("UPDATE alembic_version SET version_num = '9999'")))
    with pytest.raises(errors.FailedPreconditionError, match="9999") as caught:
        await Database(url).open()
    assert caught.value.reason == "SCHEMA_NEWER"
    await a.close()


async def test_a_transaction_of_the_old_leader_is_ended_with_its_lease(postgres):
    url = postgres.migrated()
    a, b = await opened(url, "a:1"), await opened(url, "b:2")
    loop, begun = asyncio.get_running_loop(), asyncio.Event()

    def stopped(connection):
        """What a process is in that was stopped: its transaction has written, and waits."""
        access.add_tenant(connection, "stopped")
        loop.call_soon_threadsafe(begun.set)
        go.result()

    go = asyncio.run_coroutine_threadsafe(asyncio.sleep(3), loop)
    with a.leading():
        late = asyncio.create_task(a.write(stopped))
    await begun.wait()
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        expire(connection)
    engine.dispose()
    assert await b.keep() == 2
    await b.write(access.add_tenant, "newer")  # The old one's transaction keeps nobody out.
    assert not go.done()
    with pytest.raises(errors.UnavailableError):
        await late
    names = {one.name for one in await b.read(access.every_tenant)}
    assert "newer" in names
    assert "stopped" not in names
    await a.close()
    await b.close()


async def test_a_server_that_restarts_is_unavailable_and_then_there_again():
    with postgres_server.server() as server:
        database = await opened(server.fresh(), "a:1")
        await database.read(access.every_tenant)
        server.stop()
        for call in (database.read(access.every_tenant), database.write(access.add_tenant, "t")):
            with pytest.raises(errors.UnavailableError) as caught:
                await call
            assert caught.value.reason == "DATABASE_UNAVAILABLE"
            assert caught.value.retry_after
        server.start()
        await database.write(access.add_tenant, "t")
        assert await database.keep() == 1
        await database.close()


async def test_reads_are_of_one_snapshot_and_change_nothing(url):
    database = await opened(url, "a:1")
    if database._engine.dialect.name == "postgresql":
        shown = [
            await database.read(lambda c, n=n: c.exec_driver_sql(f"SHOW {n}").scalar())
            for n in ("transaction_isolation", "transaction_read_only")
        ]
        assert shown == ["repeatable read", "on"]
    await database.close()


@pytest.mark.parametrize("bad", ["nothing", "mysql://x/y", "postgresql://x/y", "sqlite+aio://"])
def test_a_url_of_no_database_that_we_know_is_refused(bad):
    with pytest.raises(errors.InvalidArgumentError) as caught:
        Database(bad)
    assert caught.value.reason == "BAD_DATABASE_URL"
