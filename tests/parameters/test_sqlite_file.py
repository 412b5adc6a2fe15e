"""The coordinator's file, also one that an older build left."""

from __future__ import annotations

import sqlite3

from tessera.parameters import sqlite_file
from tessera.parameters.store import Store
from tessera.parameters.writer import Writer
from tessera.weights.manifest import TensorSpec

_AT_1 = (
    sqlite_file._TABLES.replace(
        "    head INTEGER NOT NULL,      -- version of readers who name none, 0 if none\n"
        "    holder TEXT NOT NULL        -- who acquired the epoch; empty: before this was noted\n",
        "    head INTEGER NOT NULL       -- version of readers who name none, 0 if none\n",
    )
    .replace(
        "    opened REAL NOT NULL,       -- seconds since the epoch; 0: before this was noted\n", ""
    )
    .replace("user_version = 2", "user_version = 1")
)


def columns(path, table):
    with sqlite3.connect(path) as db:
        return [row[1] for row in db.execute(f"PRAGMA table_info({table})")]


def test_a_file_of_an_older_build_goes_on(tmp_path):
    old, new = tmp_path / "old.db", tmp_path / "new.db"
    with sqlite3.connect(old) as db:
        db.executescript(_AT_1)
        db.execute("INSERT INTO sets VALUES ('a/s', 4, 'j', 1, 3, 7, 0)")
    assert "holder" not in columns(old, "sets")
    store = Store(old, ["shard-0"])
    Store(new, ["shard-0"]).close()
    for table in ("sets", "versions"):
        assert columns(old, table) == columns(new, table)
    # Whoever wrote goes on with the epoch that it has.
    writer = Writer(set="a/s", epoch=4, holder="attempt:j/1")
    assert store.open(writer, 1, [], {}, {}) == 7
    store.close()
    Store(old, ["shard-0"]).close()


def test_what_nobody_goes_on_with_is_given_up(tmp_path):
    store = Store(tmp_path / "it.db", ["shard-0"])
    grant = store.acquire("a/s", "j", 1, 0, "me")
    writer = Writer(set="a/s", epoch=grant.epoch, holder="me")
    terabyte = TensorSpec(group="model", name="w", shape=(10**12,), dtype="U8")
    days = 3 * 86400

    def pass_by(seconds):
        with store._database.transaction() as db:
            db.execute("UPDATE versions SET opened = opened - ?", (seconds,))
        store.leases.give_up()

    small = store.open(writer, 1, [], {}, {})
    pass_by(500)
    assert store.unsealed(writer, small) == ((), ["shard-0"])
    pass_by(200)
    assert [drop.number for drop in store.retention.pending_drops()] == [small]
    large = store.open(writer, 1, [terabyte], {}, {})
    pass_by(0.7 * days)
    assert store.unsealed(writer, large) == ((terabyte,), ["shard-0"]), (
        "so many bytes take their time"
    )
    store.leases.renew(writer, large)
    pass_by(0.7 * days)
    assert store.unsealed(writer, large) == ((terabyte,), ["shard-0"]), "and its writer lives"
    pass_by(0.7 * days)
    assert [drop.number for drop in store.retention.pending_drops()] == [small, large]
    store.close()
