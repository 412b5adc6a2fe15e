"""`tessera tenants` and `tenants create`."""

from __future__ import annotations

from typing import Annotated

import typer

from tessera.cli import show
from tessera.cli.connect import connect, options_of

tenants = typer.Typer(add_completion=False, rich_markup_mode=None, invoke_without_command=True)


@tenants.callback()
def list_tenants(context: typer.Context) -> None:
    """List the tenants, with what each has of what it may have.

    An operator sees every tenant, anybody else their own.
    """
    if context.invoked_subcommand is not None:
        return
    with connect(context) as client:
        known = client.access.tenants()
    if options_of(context).json:
        show.as_json(known)
        return
    rows = [
        (
            tenant.name,
            f"{tenant.jobs.used} of {tenant.jobs.limit}",
            f"{tenant.deployments.used} of {tenant.deployments.limit}",
            f"{show.size(tenant.blob_bytes.used)} of {show.size(tenant.blob_bytes.limit)}",
            show.age(tenant.create_time),
        )
        for tenant in known
    ]
    columns = ("TENANT", "OPEN JOBS", "DEPLOYMENTS", "UPLOADS", "AGE")
    show.table(columns, rows, empty="no tenants")


@tenants.command("create")
def create(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of the tenant.", show_default=False)],
) -> None:
    """Add a tenant; its jobs, sets and deployments are nobody else's. For operators."""
    with connect(context) as client:
        made = client.access.create_tenant(name)
    if options_of(context).json:
        show.as_json(made)
        return
    show.line(f"tenant {made.name}; `tessera token create --tenant {made.name}` lets somebody in")
