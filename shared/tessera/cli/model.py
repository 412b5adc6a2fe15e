"""`tessera model`."""

from __future__ import annotations

import typer

from tessera.api.inference.v1 import inference_pb2 as pb
from tessera.cli import show
from tessera.cli.connect import connect, settings_of
from tessera.cli.texts import ModelArgument


def model(context: typer.Context, name: ModelArgument) -> None:
    """Show what a deployed model is, and what one can ask it.

    tessera model stars
    """
    with connect(context) as client:
        found = client.model(name)
    if settings_of(context).json:
        show.as_json(found)
        return
    for title, value in _facts(found):
        if value:
            show.line(f"{title:<11} {value}")


def _facts(found: pb.GetModelResponse) -> list[tuple[str, str]]:
    return [
        ("model", found.model),
        ("family", found.family),
        ("task", found.task),
        ("answers", ", ".join(found.methods)),
        ("version", f"{found.set}@{found.version}"),
        ("parameters", f"{found.parameters:,}"),
        ("context", f"{found.context} tokens"),
        ("width", str(found.width or "")),
        ("labels", ", ".join(found.labels)),
    ]
