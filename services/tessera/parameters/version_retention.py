"""Which versions stay: what is pinned, what makes room, and what shards have yet to forget."""

from __future__ import annotations

import json
import sqlite3
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tessera import errors
from tessera.parameters import holders
from tessera.parameters.members import member_names
from tessera.parameters.quota import RETRY_SECONDS, TenantQuota, exceeded, names_of, tenant_of
from tessera.parameters.retention import (
    Drop,
    Held,
    footprint,
    freed,
    outdated,
    protected_bytes,
    shrink,
    total_bytes,
)
from tessera.parameters.rows import (
    held_versions,
    readable_version,
    reserved_bytes,
    version_row,
)
from tessera.parameters.sqlite_file import SQLiteFile
from tessera.weights.manifest import VersionState

RENEWED_SECONDS = 900.0
"""Within these every replica renews its pin: a third of half an hour, and some."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingDrop:
    """A shard has still to forget these groups (none: all) of a version."""

    id: int
    set: str
    number: int
    groups: tuple[str, ...]
    shard: str


class VersionRetention:
    """Pins and drops; each method without a connection is one transaction.

    Args:
        database: the coordinator's file.
        cap: bytes that all versions together may take; None: no limit.
        quota: of each tenant.
    """

    def __init__(self, database: SQLiteFile, cap: int | None, quota: TenantQuota) -> None:
        self._database = database
        self._cap = cap
        self._quota = quota

    def pin(self, name: str, number: int, owner: str, ttl: float) -> None:
        """Keep a version whole for `ttl` seconds.

        Raises:
            ResourceExhaustedError: the tenant has too many pins (QUOTA_EXCEEDED).
        """
        now = time.time()
        with self._database.transaction() as db:
            readable_version(db, name, number)
            tenant = tenant_of(name)
            others = db.execute(
                "SELECT count(*) FROM pins WHERE expires > ? AND set_name > ? AND set_name < ?"
                " AND NOT (set_name = ? AND number = ? AND owner = ?)",
                (now, *names_of(tenant), name, number, owner),
            ).fetchone()[0]
            self._quota.check("pins", tenant, others)
            expires = now + ttl
            db.execute(
                "INSERT INTO pins VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET expires = ?",
                (name, number, owner, expires, expires),
            )

    def release(self, name: str, number: int, owner: str) -> None:
        """Give a pin back; doing it twice is harmless."""
        with self._database.transaction() as db:
            db.execute(
                "DELETE FROM pins WHERE set_name = ? AND number = ? AND owner = ?",
                (name, number, owner),
            )

    def retain(self) -> list[Drop]:
        """Drop what may go by sets' `keep` and tenants' quotas; returns what was dropped."""
        with self._database.transaction() as db:
            db.execute("DELETE FROM pins WHERE expires <= ?", (time.time(),))
            drops: list[Drop] = []
            if not _just_recovered(db):
                rows = db.execute("SELECT name, keep FROM sets WHERE deleted = 0")
                keep = {row["name"]: row["keep"] for row in rows}
                drops += self.drop(db, outdated(held_versions(db), keep))
            for tenant, held in _by_tenant(held_versions(db)).items():
                if (most := self._most(tenant)) is not None:
                    drops += self.drop(db, shrink(held, total_bytes(held) - most))
            return drops

    def reserve(self, db: sqlite3.Connection, name: str, size: int) -> None:
        """Raise unless a new version of a set will find room, without another tenant's giving way.

        Args:
            db: connection of the transaction that opens the version.
            name: of the set.
            size: bytes that it was declared to take.

        Raises:
            ResourceExhaustedError: it will not: of the tenant's own (QUOTA_EXCEEDED), or under the
                cap (DISK_CAP).
        """
        tenant = tenant_of(name)
        by_tenant, reserved = _by_tenant(held_versions(db)), reserved_bytes(db)
        own = protected_bytes(by_tenant.get(tenant, [])) + reserved.get(tenant, 0)
        quota = self._quota.of(tenant).bytes
        if quota is not None and own + size > quota:
            raise exceeded("bytes", tenant, own, quota)
        if self._cap is None:
            return
        others = _others(tenant, by_tenant, reserved)
        if own + others + size > self._cap:
            raise errors.ResourceExhaustedError(
                f"the version takes {size} bytes; newest, pinned and open versions of tenant"
                f" {tenant!r} take {own}, and other tenants {others}, of the {self._cap} that the"
                " disk cap allows; raise the cap or publish less",
                reason="DISK_CAP",
                retry_after=RETRY_SECONDS,
                metadata={"needed": str(size), "held": str(own), "cap": str(self._cap)},
            )

    def make_room(self, db: sqlite3.Connection, name: str, size: int) -> None:
        """Drop what a tenant's new version takes the room of: of its own alone, no more than that.

        Args:
            db: connection of the transaction that seals the version.
            name: of its set.
            size: bytes of it that are on the shards.
        """
        tenant = tenant_of(name)
        by_tenant, reserved = _by_tenant(held_versions(db)), reserved_bytes(db)
        held = by_tenant.get(tenant, [])
        excess = 0
        if self._cap is not None:
            others = _others(tenant, by_tenant, reserved)
            excess = min(size, total_bytes(held) + size + others - self._cap)
        if (most := self._most(tenant)) is not None:
            excess = max(excess, total_bytes(held) + size - most)
        self.drop(db, shrink(held, excess))

    def free(self, name: str, size: int) -> None:
        """Drop of a tenant's versions what may go, oldest first, until `size` bytes are free.

        Nothing goes where that is not enough.

        Args:
            name: of a set of the tenant.
            size: bytes.
        """
        with self._database.transaction() as db:
            held = _by_tenant(held_versions(db)).get(tenant_of(name), [])
            drops = shrink(held, size)
            if freed(held, drops) >= size:
                self.drop(db, drops)

    def _most(self, tenant: str) -> int | None:
        """Bytes that a tenant may hold."""
        given = (self._quota.of(tenant).bytes, self._cap)
        bounds = [bound for bound in given if bound is not None]
        return min(bounds, default=None)

    def pending_drops(self) -> list[PendingDrop]:
        """What shards have still to be told to forget, oldest first."""
        with self._database.transaction() as db:
            return [
                PendingDrop(
                    id=row["id"],
                    set=row["set_name"],
                    number=row["number"],
                    groups=tuple(json.loads(row["groups"])),
                    shard=row["shard"],
                )
                for row in db.execute("SELECT * FROM drops ORDER BY id").fetchall()
            ]

    def dropped(self, drop: PendingDrop) -> None:
        """A shard has done it."""
        with self._database.transaction() as db:
            db.execute("DELETE FROM drops WHERE id = ?", (drop.id,))

    def forget(self, db: sqlite3.Connection, name: str, number: int, groups: Sequence[str]) -> None:
        """Note for every shard that it has to forget groups (none: all) of a version."""
        if not groups:
            db.execute("DELETE FROM manifests WHERE set_name = ? AND number = ?", (name, number))
        holders.forget(db, (name, number), groups)
        db.executemany(
            "DELETE FROM damage WHERE set_name = ? AND number = ? AND ? IN ('', tensor_group)",
            [(name, number, group) for group in groups or ("",)],
        )
        db.executemany(
            "INSERT INTO drops (set_name, number, groups, shard) VALUES (?, ?, ?, ?)",
            [(name, number, json.dumps(list(groups)), shard) for shard in member_names(db)],
        )

    def give_up(self, db: sqlite3.Connection, name: str, number: int) -> None:
        """Let nobody finish a version that is being written."""
        db.execute(
            "UPDATE versions SET state = ? WHERE set_name = ? AND number = ?",
            (VersionState.ABORTED.value, name, number),
        )
        self.forget(db, name, number, ())

    def drop(self, db: sqlite3.Connection, drops: Sequence[Drop]) -> Sequence[Drop]:
        """Drop versions or groups of them, and note what shards have to forget."""
        for drop in drops:
            row = version_row(db, drop.set, drop.number)
            held = (
                [] if drop.whole else [g for g in json.loads(row["held"]) if g not in drop.groups]
            )
            sizes = json.loads(row["sizes"])
            db.execute(
                "UPDATE versions SET held = ?, size = ?, dropped = ?"
                " WHERE set_name = ? AND number = ?",
                (
                    json.dumps(held),
                    sum(sizes[group] for group in held),
                    int(drop.whole),
                    drop.set,
                    drop.number,
                ),
            )
            self.forget(db, drop.set, drop.number, () if drop.whole else drop.groups)
        return drops


def _just_recovered(db: sqlite3.Connection) -> bool:
    """Whether pins may have been lost that nobody has renewed yet."""
    row = db.execute("SELECT recovered FROM store").fetchone()
    return row is not None and time.time() < row["recovered"] + RENEWED_SECONDS


def _by_tenant(versions: Sequence[Held]) -> dict[str, list[Held]]:
    found: dict[str, list[Held]] = defaultdict(list)
    for version in versions:
        found[tenant_of(version.set)].append(version)
    return dict(found)


def _others(
    tenant: str, by_tenant: Mapping[str, Sequence[Held]], reserved: Mapping[str, int]
) -> int:
    """Bytes that all other tenants are entitled to."""
    names = {*by_tenant, *reserved} - {tenant}
    return sum(footprint(by_tenant.get(name, ()), reserved.get(name, 0)) for name in names)
