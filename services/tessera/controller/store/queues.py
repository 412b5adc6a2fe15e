"""Queues in the store."""

from __future__ import annotations

import time
from dataclasses import replace

import sqlalchemy as sa

from tessera import errors
from tessera.controller.policy.records import StoredQueue
from tessera.controller.store import rows
from tessera.controller.store.changes import ChangeKind, touch
from tessera.controller.store.schema import UNFINISHED, deployments, jobs, queues

MAX_QUEUES = 4096


def every(connection: sa.Connection) -> list[StoredQueue]:
    """All queues, by name."""
    query = sa.select(queues).order_by(queues.c.name)
    return [rows.record(StoredQueue, row) for row in connection.execute(query)]


def put(connection: sa.Connection, new: StoredQueue) -> StoredQueue:
    """Add a queue, or change it.

    Raises:
        NotFoundError: its parent is none (QUEUE_NOT_FOUND).
        FailedPreconditionError: it would hang on itself (QUEUE_CYCLE), on a queue in which work
            waits (QUEUE_IN_USE), or there are too many (QUEUE_LIMIT).
    """
    known = {item.queue.name: item for item in every(connection)}
    name, parent = new.queue.name, new.queue.parent
    if parent and parent not in known:
        raise _missing(connection, "parent", parent)
    _check_cycle(known, name, parent)
    if parent and not _is_branch(known, parent) and _used(connection, parent):
        raise errors.FailedPreconditionError.at(
            "queue.parent",
            f"work waits or runs in queue '{parent}': a branch has none; end or move it first",
            "QUEUE_IN_USE",
        )
    if name not in known and len(known) >= MAX_QUEUES:
        raise errors.FailedPreconditionError(
            f"there are {MAX_QUEUES} queues; delete one first", reason="QUEUE_LIMIT"
        )
    since = known[name].create_time if name in known else time.time()
    new = replace(new, create_time=since)
    rows.replace(connection, queues, new)
    touch(connection, ChangeKind.QUEUES)
    return new


def delete(connection: sa.Connection, name: str) -> None:
    """Forget a queue.

    Raises:
        NotFoundError: there is none (QUEUE_NOT_FOUND).
        FailedPreconditionError: others hang on it, or work waits or runs in it (QUEUE_IN_USE).
    """
    known = {item.queue.name: item for item in every(connection)}
    if name not in known:
        raise _missing(connection, "name", name)
    if _is_branch(known, name):
        raise errors.FailedPreconditionError(
            f"other queues hang on '{name}'; delete them first", reason="QUEUE_IN_USE"
        )
    if _used(connection, name):
        raise errors.FailedPreconditionError(
            f"work waits or runs in queue '{name}'; end it first", reason="QUEUE_IN_USE"
        )
    connection.execute(queues.delete().where(queues.c.name == name))
    touch(connection, ChangeKind.QUEUES)


def check(connection: sa.Connection, name: str, tenant: str, field: str = "queue") -> None:
    """Raise unless a tenant may send work to a queue.

    Raises:
        NotFoundError: there is none that it may use (QUEUE_NOT_FOUND).
        InvalidArgumentError: it is a branch (QUEUE_HAS_CHILDREN).
    """
    mine = sa.select(queues.c.tenants).where(queues.c.name == name)
    row = connection.execute(mine).one_or_none()
    if row is None or (row.tenants and tenant not in row.tenants):
        raise _missing(connection, field, name, tenant)
    below = sa.select(queues.c.name).where(queues.c.parent == name).order_by(queues.c.name)
    if leaves := list(connection.execute(below.limit(10)).scalars()):
        text = f"queue '{name}' is a branch; name one of {', '.join(leaves)}"
        raise errors.InvalidArgumentError.at(field, text, "QUEUE_HAS_CHILDREN")


def _check_cycle(known: dict[str, StoredQueue], name: str, parent: str) -> None:
    step, seen = parent, {name}
    while step:
        if step in seen:
            raise errors.FailedPreconditionError.at(
                "queue.parent", f"'{name}' would hang on itself, by '{parent}'", "QUEUE_CYCLE"
            )
        seen.add(step)
        step = known[step].queue.parent if step in known else ""


def _is_branch(known: dict[str, StoredQueue], name: str) -> bool:
    return any(item.queue.parent == name for item in known.values())


def _used(connection: sa.Connection, name: str) -> bool:
    running = sa.select(jobs.c.id).where(jobs.c.queue == name, UNFINISHED).limit(1)
    standing = sa.select(deployments.c.name).where(deployments.c.queue == name).limit(1)
    return any(connection.execute(query).first() is not None for query in (running, standing))


def _missing(
    connection: sa.Connection, field: str, name: str, tenant: str = ""
) -> errors.NotFoundError:
    usable = [
        item.queue.name
        for item in every(connection)
        if not tenant or not item.tenants or tenant in item.tenants
    ]
    message = f"{field}: there is no queue '{name}'; there is {_listed(usable)}"
    return errors.NotFoundError(
        message, reason="QUEUE_NOT_FOUND", violations=[errors.Violation(field, message)]
    )


def _listed(names: list[str], shown: int = 10) -> str:
    text = ", ".join(f"'{name}'" for name in names[:shown])
    return text + (f" and {len(names) - shown} more" if len(names) > shown else "")
