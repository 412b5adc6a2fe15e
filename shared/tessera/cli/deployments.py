"""`tessera deploy`, `undeploy` and `models`."""

from __future__ import annotations

from typing import Annotated

import typer

from tessera import errors
from tessera.api.controller.v1 import deployment_pb2 as pb
from tessera.api.controller.v1.spec_pb2 import AcceleratorSpec
from tessera.cli import show
from tessera.cli.connect import connect, options_of
from tessera.cli.exit_codes import DONE, FAILED
from tessera.client import Client
from tessera.client.dashboard import actor_of, actor_page
from tessera.client.deployments import why

_MAX_LAG = (
    "Commits and rollbacks of the set that a replica may be behind before it takes no new requests;"
    " only where no version is named."
)

NameArgument = Annotated[str, typer.Argument(help="Name of the deployment.", show_default=False)]


def deploy(  # noqa: PLR0917 - typer fills in options by name
    context: typer.Context,
    name: NameArgument,
    model: Annotated[
        str,
        typer.Option(
            metavar="SET[@VERSION]",
            help="What to serve; without a version, the newest, and it follows.",
            show_default=False,
        ),
    ],
    replicas: Annotated[int | None, typer.Option(help="How many.", show_default="1")] = None,
    cpus: Annotated[
        float | None, typer.Option(help="Logical CPUs of each.", show_default="1")
    ] = None,
    accelerator: Annotated[
        str, typer.Option(metavar="TYPE[:COUNT]", help="Of each, for example H100:1.")
    ] = "",
    max_batch: Annotated[
        int | None, typer.Option(help="Requests that run at once.", show_default="16")
    ] = None,
    max_lag: Annotated[
        int | None,
        typer.Option(metavar="MOVES", help=_MAX_LAG, show_default="any"),
    ] = None,
    wait: Annotated[bool, typer.Option(help="Stay until every replica serves.")] = True,
    timeout: Annotated[float, typer.Option(help="Seconds to wait at most.")] = 300.0,
) -> int:
    """Have a version served."""
    spec = _spec(name, model, replicas, cpus, accelerator, max_batch, max_lag)
    with connect(context) as client:
        client.deployments.create(spec)
        if wait and (failure := _await(client, name, timeout)):
            show.note(f"tessera: {' '.join(failure.split())}")
            return FAILED
        _tell(context, client.deployments.get(name))
    return DONE


def undeploy(
    context: typer.Context,
    name: NameArgument,
    wait: Annotated[bool, typer.Option(help="Stay until every replica has ended.")] = True,
    timeout: Annotated[float, typer.Option(help="Seconds to wait at most.")] = 60.0,
) -> None:
    """End a deployment; its replicas finish what they have begun."""
    with connect(context) as client:
        client.deployments.delete(name)
        if wait:
            with show.console(stderr=True).status("its replicas are ending …"):
                client.deployments.wait_ended(name, timeout)
    if options_of(context).json:
        show.as_json({"name": name, "deleting": not wait})
    else:
        show.line(f"{name} {'has ended' if wait else 'is being ended'}")


def models(context: typer.Context) -> None:
    """List deployments."""
    with connect(context) as client:
        found = list(client.deployments.list())
        replicas = client.deployments.replicas()
        dashboards = client.dashboards()
    if options_of(context).json:
        show.as_json(found)
        return
    rows = [
        (
            item.spec.name,
            item.spec.model,
            _state(item),
            _ready(item),
            str(item.version or ""),
            show.age(item.create_time),
            " ".join(_note(item).split()),
            " ".join(
                actor_page(dashboards.get(item.pool, ""), actor_of(replica))
                for replica in replicas.get(item.spec.name, ())
            ).strip(),
        )
        for item in found
    ]
    show.table(
        ("NAME", "MODEL", "STATE", "READY", "VERSION", "AGE", "NOTE", "DASHBOARD"),
        rows,
        empty="no deployments; `tessera deploy NAME --model SET` makes one",
    )


def _tell(context: typer.Context, found: pb.Deployment) -> None:
    """How one stands, in a line."""
    if options_of(context).json:
        show.as_json(found)
        return
    version = f" version {found.version}" if found.version else ""
    name, model = found.spec.name, found.spec.model
    show.line(f"{name}  {_state(found)}  {model}{version}  {_ready(found)} ready")


def _spec(  # noqa: PLR0917 - what the options say, in their order
    name: str,
    model: str,
    replicas: int | None,
    cpus: float | None,
    accelerator: str,
    max_batch: int | None,
    max_lag: int | None,
) -> pb.DeploymentSpec:
    try:
        spec = pb.DeploymentSpec(
            name=name, model=model, replicas=replicas, cpus_per_replica=cpus, max_lag=max_lag
        )
        if max_batch is not None:
            spec.engine.max_batch = max_batch
        if accelerator:
            kind, _, count = accelerator.partition(":")
            spec.accelerator.CopyFrom(AcceleratorSpec(type=kind, count=float(count or 1)))
    except ValueError as error:
        raise errors.InvalidArgumentError(str(error), reason="INVALID_FIELD") from None
    return spec


def _await(client: Client, name: str, seconds: float) -> str:
    """Wait for a deployment, saying what it waits for; returns why it has failed, if it has.

    The call was right then, and what it asked for has failed, as a job does.
    """
    with show.console(stderr=True).status("deploying …") as status:
        try:
            for found in client.deployments.follow(name, seconds):
                status.update(f"{_state(found)}: {_ready(found)} ready; {why(found)}")
        except errors.FailedPreconditionError as error:
            if error.reason != "DEPLOYMENT_FAILED":
                raise
            return error.message
    return ""


def _note(deployment: pb.Deployment) -> str:
    """What is wrong with one that serves, or why one does not."""
    ready = deployment.state == pb.DEPLOYMENT_STATE_READY
    return deployment.message if ready else why(deployment)


def _state(deployment: pb.Deployment) -> str:
    return show.enum(pb.DeploymentState.Name(deployment.state), "DEPLOYMENT_STATE_")


def _ready(deployment: pb.Deployment) -> str:
    return f"{deployment.ready_replicas}/{deployment.spec.replicas}"
