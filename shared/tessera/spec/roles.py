"""What a task wants to know of each record of its data. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from tessera.data.record import Roles
from tessera.models.tasks import JOINT, TASKS


def roles_of(kind: str, *, multi_label: bool = False, pairs: bool = False) -> Roles:
    """The roles of a task.

    Args:
        kind: of the task.
        multi_label: whether a text may have any number of classes, so none too.
        pairs: whether `joint` reads sources and targets rather than texts.
    """
    row = TASKS[kind]
    if kind == JOINT:
        return Roles(required=("source", "target") if pairs else row.required)
    required = tuple(role for role in row.required if role != "label" or not multi_label)
    return Roles(
        required=required, optional=tuple(role for role in row.roles if role not in required)
    )


def reads_pairs(form: str, columns: Mapping[str, str]) -> bool:
    """Whether the data of `joint` has sources and targets, rather than texts.

    Args:
        form: format of the data.
        columns: by role, as the spec names them.
    """
    return form == "parallel" or not {"source", "target"}.isdisjoint(columns)
