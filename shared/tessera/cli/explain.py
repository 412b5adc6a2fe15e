"""`tessera explain`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from tessera import errors
from tessera.api.controller.v1.job_pb2 import ExplainJobResponse, ExtraNodes, WaitingReason
from tessera.cli import show
from tessera.cli.connect import connect, options_of
from tessera.cli.named import job_id
from tessera.cli.nodes import SHOWN
from tessera.client.prepare import prepare
from tessera.spec import read

_EXTRA = re.compile(r"([A-Za-z][-A-Za-z0-9_.]*)\+(\d{1,5})")
CPU_NODES = "node"
"""What `--if node+2` asks for: nodes without accelerators."""


def explain(
    context: typer.Context,
    job: Annotated[
        str,
        typer.Argument(
            help="Id of a job, or its name; or a YAML file of one that is not sent.",
            show_default=False,
        ),
    ],
    if_: Annotated[
        list[str] | None,
        typer.Option(
            "--if",
            metavar="TYPE+N",
            help="As if there were N more of them, or `node+N`.",
        ),
    ] = None,
) -> None:
    """Tell why a job waits: who holds the room, for whom it is kept, what would free it, and when.

    tessera explain job.yaml --if h200+8
    """
    extra = [_extra(text) for text in if_ or ()]
    with connect(context) as client:
        if Path(job).suffix in {".yaml", ".yml"}:
            document = read(Path(job), ())
            try:
                spec = prepare(document.spec, document.folder).spec
                answer = client.scheduling.explain(spec, extra)
            except errors.TesseraError as error:
                raise document.locate(error) from None
        else:
            answer = client.scheduling.explain(job_id(client, job), extra)
    if options_of(context).json:
        show.as_json(answer)
        return
    _show(answer)


def _extra(text: str) -> ExtraNodes:
    """`h200+8` as nodes that there might be.

    Raises:
        BadParameter: it is not.
    """
    found = _EXTRA.fullmatch(text)
    if found is None or not int(found[2]):
        raise typer.BadParameter(f"--if: `{text}` is not TYPE+N, as `h200+8` is")
    kind = "" if found[1] == CPU_NODES else found[1].upper()
    return ExtraNodes(accelerator=kind, count=int(found[2]))


def _show(answer: ExplainJobResponse) -> None:
    if answer.pool:
        on = f" on {answer.flavour}" if answer.flavour else ""
        show.line(f"it runs in pool {answer.pool}{on}, on {_listed(answer.nodes)}")
    elif not answer.reasons:
        show.line("nothing stands in its way")
    for number, reason in enumerate(answer.reasons, start=1):
        show.line(f"{number}. {reason.reason}: {reason.message}{_when(reason)}")
    if answer.preempted:
        show.line(f"asked to go for it: {', '.join(answer.preempted)}")
    if answer.ahead:
        jobs = "job" if answer.ahead == 1 else "jobs"
        show.line(f"{answer.ahead} {jobs} of its queue come before it")


def _listed(nodes: Iterable[str]) -> str:
    """Nodes with the number of workers on each."""
    names = [node[:SHOWN] for node in nodes]
    unique = list(dict.fromkeys(names))
    return ", ".join(f"{name} ({names.count(name)})" for name in unique)


def _when(reason: WaitingReason) -> str:
    starts = reason.about.get("starts", "")
    if not starts:
        return ""
    at = datetime.fromtimestamp(float(starts), UTC).astimezone()
    return f" (at the latest {at:%Y-%m-%d %H:%M})"
