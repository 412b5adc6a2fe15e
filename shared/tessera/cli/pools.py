"""`tessera pools`."""

from __future__ import annotations

import typer

from tessera.api.controller.v1.pool_pb2 import Pool
from tessera.cli import show
from tessera.cli.connect import connect, settings_of

SHOWN = ("CPU", "GPU", "TPU")


def pools(context: typer.Context) -> None:
    """List the Ray clusters that work is placed on."""
    with connect(context) as client:
        found = client.pools()
    if settings_of(context).json:
        show.as_json(found)
        return
    rows = [
        (
            pool.name,
            "live" if pool.live else "unseen",
            _held(pool),
            pool.dashboard_url,
            " ".join(pool.message.split()),
        )
        for pool in found
    ]
    show.table(("POOL", "STATE", "HELD", "DASHBOARD", "NOTE"), rows, empty="no pools")


def _held(pool: Pool) -> str:
    """What Tessera holds of what there is, for example `CPU 3/8`."""
    parts = [
        f"{name} {pool.held.get(name, 0.0):g}/{pool.total[name]:g}"
        for name in SHOWN
        if pool.total.get(name)
    ]
    return ", ".join(parts)
