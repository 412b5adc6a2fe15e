"""`tessera diff`."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import typer

from tessera.cli import show
from tessera.cli.bar import progress_bar
from tessera.cli.connect import connect, options_of
from tessera.client.diff import TensorChange, VersionDiff

SHOWN = 20


def diff(
    context: typer.Context,
    old: Annotated[
        str, typer.Argument(metavar="SET[@VERSION]", help="The first.", show_default=False)
    ],
    new: Annotated[
        str, typer.Argument(metavar="SET[@VERSION]", help="The second.", show_default=False)
    ],
    group: Annotated[
        str, typer.Option(help="Whose tensors: model, optimizer, ema or state.")
    ] = "model",
    every: Annotated[
        bool, typer.Option("--all", help=f"Show every tensor, not the {SHOWN} that changed most.")
    ] = False,
) -> None:
    """Tell what lies between two versions, tensor by tensor, the largest change first.

    CHANGE is the norm of the difference in norms of what the tensor was: 0.01 is one per cent.

    tessera diff gpt@3 gpt@5
    """
    with connect(context) as client, progress_bar() as bar:
        task = bar.add_task("comparing …", total=None)
        found = client.diff(
            old,
            new,
            group=group,
            progress=lambda done, size: bar.update(task, completed=done, total=size),
        )
    if options_of(context).json:
        show.as_json(_plain(found))
        return
    _show(found, len(found.changed) if every else SHOWN)


def _show(found: VersionDiff, most: int) -> None:
    old, new = (f"{side.set}@{side.number}" for side in (found.old, found.new))
    show.line(
        f"{old} → {new}, {found.group}: {found.same} tensors are the same, {len(found.changed)}"
        f" changed, {len(found.removed)} removed, {len(found.added)} added,"
        f" {len(found.recast)} of another shape or type"
    )
    for mark, names in (("-", found.removed), ("+", found.added), ("~", found.recast)):
        for name in names[:most]:
            show.line(f"{mark} {name}")
        if len(names) > most:
            show.line(f"{mark} … and {len(names) - most} more")
    if found.changed:
        columns = ("TENSOR", "SHAPE", "CHANGE", "NORM", "LARGEST", "ELEMENTS")
        show.table(columns, [_row(change) for change in found.changed[:most]], empty="")
    if len(found.changed) > most:
        show.line(f"… and {len(found.changed) - most} that changed less; see them with --all")


def _row(change: TensorChange) -> tuple[str, ...]:
    elements = 1
    for extent in change.shape:
        elements *= extent
    return (
        change.name,
        str(list(change.shape)),
        f"{change.relative:.3g}",
        f"{change.norm:.4g}",
        f"{change.largest:.3g}",
        f"{100 * change.differing / elements:.1f} %",
    )


def _plain(found: VersionDiff) -> dict[str, object]:
    return {
        "old": {"set": found.old.set, "version": found.old.number},
        "new": {"set": found.new.set, "version": found.new.number},
        "group": found.group,
        "same": found.same,
        "changed": [dataclasses.asdict(change) for change in found.changed],
        "removed": list(found.removed),
        "added": list(found.added),
        "recast": list(found.recast),
    }
