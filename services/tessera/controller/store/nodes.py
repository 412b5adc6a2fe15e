"""What is known of nodes beside what Ray says, and the groups that can grow."""

from __future__ import annotations

import time
from dataclasses import replace

import sqlalchemy as sa

from tessera.controller.policy.records import NodeMark
from tessera.controller.store import rows
from tessera.controller.store.changes import ChangeKind, touch
from tessera.controller.store.schema import node_marks


def marks(connection: sa.Connection) -> dict[str, NodeMark]:
    """All, by node."""
    found = connection.execute(sa.select(node_marks))
    return {row.node: rows.record(NodeMark, row) for row in found}


def set_state(
    connection: sa.Connection, node: str, *, cordoned: bool, draining: bool, by: str
) -> NodeMark:
    """A person or a program takes a node out, or back; back, its faults are forgotten."""
    known = _mark(connection, node)
    failures = known.failures if cordoned or draining else 0.0
    new = replace(known, cordoned=cordoned, draining=draining, failures=failures, by=by)
    _put(connection, replace(new, time=time.time() if not failures else known.time))
    return new


def blame(connection: sa.Connection, node: str) -> NodeMark:
    """Work failed by a fault of the node's."""
    now = time.time()
    known = _mark(connection, node)
    new = replace(known, failures=known.score(now) + 1.0, time=now)
    _put(connection, new)
    return new


def _mark(connection: sa.Connection, node: str) -> NodeMark:
    row = connection.execute(sa.select(node_marks).where(node_marks.c.node == node)).one_or_none()
    return NodeMark(node=node) if row is None else rows.record(NodeMark, row)


def _put(connection: sa.Connection, mark: NodeMark) -> None:
    rows.replace(connection, node_marks, mark)
    touch(connection, ChangeKind.NODES)
