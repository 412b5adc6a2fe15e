"""`tessera pools`, `pools add` and `pools delete`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

import typer

from tessera.api.controller.v1.pool_pb2 import Pool, SecretRef
from tessera.cli import show
from tessera.cli.amounts import amount
from tessera.cli.connect import connect, options_of

SHOWN = ("CPU", "GPU", "TPU")

TOKEN_FILE: Any = typer.Option(
    metavar="NAME",
    help="Of a file in the folder `secrets` of the controller's home, with Ray's token.",
    show_default=False,
)
TOKEN_ENV: Any = typer.Option(
    metavar="TESSERA_SECRET_…",
    help="Variable of the controller's environment, with Ray's token.",
    show_default=False,
)

pools = typer.Typer(add_completion=False, rich_markup_mode=None, invoke_without_command=True)


@pools.callback()
def list_pools(context: typer.Context) -> None:
    """List the Ray clusters that work is placed on."""
    if context.invoked_subcommand is not None:
        return
    with connect(context) as client:
        known = client.pools()
    if options_of(context).json:
        show.as_json(known)
        return
    _show(known)


@pools.command("add")
def add(  # noqa: PLR0917 - typer fills in options by name
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of the pool.", show_default=False)],
    dashboard: Annotated[
        str, typer.Option(metavar="URL", help="Of Ray's dashboard.", show_default=False)
    ],
    ray: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="Of the cluster (GCS).", show_default=False)
    ],
    foreign: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=NUMBER",
            help="What others use of it, as `CPU=2`; once for each resource.",
        ),
    ] = None,
    token_file: Annotated[str, TOKEN_FILE] = "",
    token_env: Annotated[str, TOKEN_ENV] = "",
) -> None:
    """Add a Ray cluster that work is placed on, or change where one is."""
    like = "NAME=NUMBER, as `CPU=2` is"
    amounts = (amount(text, "--foreign", like) for text in foreign or ())
    pool = Pool(name=name, dashboard_url=dashboard, ray_address=ray, foreign=dict(amounts))
    with connect(context) as client:
        registered = client.register_pool(pool, _token(token_file, token_env))
    if options_of(context).json:
        show.as_json(registered)
        return
    _show([registered])


@pools.command("delete")
def delete(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of the pool.", show_default=False)],
) -> None:
    """Forget a Ray cluster on which nothing of Tessera's is held; the cluster itself stays."""
    with connect(context) as client:
        client.delete_pool(name)


def _token(file: str, env: str) -> SecretRef | None:
    """Where the controller keeps Ray's token; None: not said.

    Raises:
        BadParameter: it is said twice.
    """
    if file and env:
        raise typer.BadParameter("--token-file and --token-env: give one of them")
    if file:
        return SecretRef(file=file)
    return SecretRef(env=env) if env else None


def _show(listed: Iterable[Pool]) -> None:
    rows = [
        (
            pool.name,
            "live" if pool.live else "unseen",
            _held(pool),
            pool.dashboard_url,
            " ".join(pool.message.split()),
        )
        for pool in listed
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
