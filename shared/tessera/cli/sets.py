"""`tessera sets`, `versions`, `verify`, `export` and `import`."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from tessera.cli import show
from tessera.cli.bar import progress_bar
from tessera.cli.connect import connect, options_of
from tessera.cli.exit_codes import FAILED
from tessera.client.imports import Imported
from tessera.weights.manifest import ParameterSet, Version

_PLAIN = ("family", "job_name")
"""Labels that say what the set and its job say already."""


def sets(
    context: typer.Context,
    health: Annotated[
        bool, typer.Option("--health", help="Also whether anything of them is damaged.")
    ] = False,
) -> None:
    """List parameter sets.

    VERSION is what readers get who name none: the newest, unless the set was rolled back.
    """
    with connect(context) as client:
        found = client.sets()
    if options_of(context).json:
        show.as_json(
            [
                {
                    "name": item.name,
                    "versions": item.versions,
                    "size": item.size,
                    "damaged_versions": item.damaged_versions,
                    "head": _plain(item.head) if item.head else None,
                }
                for item in found
            ]
        )
        return
    rows = [
        (
            item.name,
            str(item.head.number) if item.head else "",
            str(item.head.step) if item.head else "",
            str(item.versions),
            show.size(item.size),
            show.age(item.head.commit_time) if item.head else "",
            *((_health(item),) if health else ()),
        )
        for item in found
    ]
    show.table(
        ("SET", "VERSION", "STEP", "VERSIONS", "SIZE", "AGE", *(("HEALTH",) if health else ())),
        rows,
        empty="no sets; a job makes one when it commits its first version",
    )


def versions(
    context: typer.Context,
    set_: Annotated[str, typer.Argument(metavar="SET", help="The set.", show_default=False)],
    history: Annotated[
        bool, typer.Option("--history", help="What its readers got, and who made it so.")
    ] = False,
) -> None:
    """List the versions of a set, newest first."""
    if history:
        _history(context, set_)
        return
    with connect(context) as client:
        found, moves = client.versions(set_), client.head_moves(set_)
    if options_of(context).json:
        show.as_json([_plain(version) for version in found])
        return
    rows = [
        (
            str(version.number),
            str(version.step),
            show.size(version.size),
            show.age(version.commit_time),
            f"{version.job}/{version.attempt}",
            ",".join(version.groups),
            f"damaged: {','.join(version.damaged_groups)}" if version.damaged_groups else "good",
            " ".join(
                f"{key}={value}"
                for key, value in sorted(version.labels.items())
                if key not in _PLAIN
            ),
        )
        for version in found
    ]
    columns = ("VERSION", "STEP", "SIZE", "AGE", "JOB/ATTEMPT", "GROUPS", "HEALTH", "LABELS")
    show.table(columns, rows, empty=f"{set_} has no committed version")
    if found and moves and moves[0].version != found[0].number:
        last = moves[0]
        show.line(
            f"readers who name no version get {last.version}: {last.mover} rolled {set_} back"
            f" {show.age(last.time)} ago"
        )


def _history(context: typer.Context, set_: str) -> None:
    with connect(context) as client:
        found = client.head_moves(set_)
    if options_of(context).json:
        show.as_json([dataclasses.asdict(move) for move in found])
        return
    rows = [
        (
            str(move.version),
            "rollback" if move.rollback else "commit",
            move.mover,
            show.age(move.time),
        )
        for move in found
    ]
    columns = ("VERSION", "BY", "WHO", "AGE")
    show.table(columns, rows, empty=f"{set_} has no committed version")


def verify(
    context: typer.Context,
    version: Annotated[
        str, typer.Argument(metavar="SET[@VERSION]", help="What to read.", show_default=False)
    ],
) -> None:
    """Read all of a version on its shards, and hold it against its checksums.

    Ends with 1 if anything is lost or damaged. `tessera versions` shows it from then on, and no
    job resumes from it; what a replica has loaded already goes on being served.
    """
    with connect(context) as client, progress_bar() as bar:
        task = bar.add_task("reading …", total=None)
        for so_far in client.verify(version):
            found = so_far
            bar.update(task, completed=found.verified, total=found.size)
    name = f"{version.partition('@')[0]}@{found.version}"
    if options_of(context).json:
        show.as_json({"set": name.partition("@")[0], **dataclasses.asdict(found)})
    elif not found.damage:
        show.line(f"{name} is whole: {show.size(found.size)} match their checksums")
    else:
        rows = [(one.shard, one.group or "any", one.reason, one.text) for one in found.damage]
        show.table(("SHARD", "GROUP", "REASON", "WHAT"), rows, empty="")
    if found.damage:
        raise typer.Exit(FAILED)


def export(
    context: typer.Context,
    version: Annotated[
        str, typer.Argument(metavar="SET[@VERSION]", help="What to write.", show_default=False)
    ],
    directory: Annotated[Path, typer.Argument(help="Where to.", show_default=False)],
    force: Annotated[bool, typer.Option("--force", help="Replace what is there.")] = False,
) -> None:
    """Write a version as a folder that transformers loads."""
    with connect(context) as client, show.console(stderr=True).status("pulling …"):
        done = client.export(version, directory, force=force)
    if options_of(context).json:
        show.as_json({**dataclasses.asdict(done), "folder": str(done.folder)})
        return
    show.line(
        f"{done.set}@{done.version} is in {done.folder}: "
        f"{done.tensors} tensors, {show.size(done.size)}"
    )
    _warn(done.notes)


def import_(
    context: typer.Context,
    source: Annotated[
        str,
        typer.Argument(
            metavar="FOLDER|REPOSITORY",
            help="What to read, here or on the hub.",
            show_default=False,
        ),
    ],
    set_: Annotated[
        str, typer.Option("--set", metavar="SET", help="Where to.", show_default=False)
    ],
    revision: Annotated[
        str, typer.Option(help="Branch, tag or commit of the repository.", show_default=False)
    ] = "",
    base: Annotated[
        str,
        typer.Option(
            metavar="FOLDER|REPOSITORY",
            help="Of an adapter: the model that it is for. Default: the one that it names.",
            show_default=False,
        ),
    ] = "",
) -> None:
    """Commit a model that transformers wrote as a version."""
    with connect(context) as client, progress_bar() as bar:
        task = bar.add_task("reading …", total=None)

        def progress(done: int, total: int) -> None:
            bar.update(task, description="pushing …", completed=done, total=total)

        done = client.import_model(source, set_, revision=revision, base=base, progress=progress)
    if options_of(context).json:
        show.as_json(dataclasses.asdict(done))
        return
    show.line(_imported(done))
    _warn(done.notes)


def _health(item: ParameterSet) -> str:
    if not item.damaged_versions:
        return "good"
    return f"{item.damaged_versions} of {item.versions} damaged; see `tessera versions {item.name}`"


def _imported(done: Imported) -> str:
    return (
        f"{done.set}@{done.version} is a {done.family} for {done.task.replace('_', ' ')}"
        f" ({done.architecture}): {done.parameters / 1e6:.1f}M parameters, {show.size(done.size)}"
    )


def _warn(notes: Sequence[str]) -> None:
    for note in notes:
        show.note(f"note: {note}")


def _plain(version: Version) -> dict[str, Any]:
    return {
        "set": version.set,
        "number": version.number,
        "state": version.state.value,
        "step": version.step,
        "job": version.job,
        "attempt": version.attempt,
        "commit_time": version.commit_time,
        "groups": list(version.groups),
        "size": version.size,
        "damaged_groups": list(version.damaged_groups),
        "labels": dict(version.labels),
    }
