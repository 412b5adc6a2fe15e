"""`tessera token create`, `token list` and `token revoke`."""

from __future__ import annotations

import re
import time
from datetime import timedelta
from enum import StrEnum
from typing import Annotated

import typer

from tessera.api.controller.v1.access_pb2 import Token, TokenRole
from tessera.cli import show
from tessera.cli.connect import connect, options_of

token = typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=True)

UNITS = {"m": "minutes", "h": "hours", "d": "days"}
TenantOption = Annotated[
    str, typer.Option(metavar="NAME", help="Of whom; yours if none is named.", show_default=False)
]


class RoleName(StrEnum):
    """What a token may do."""

    viewer = "viewer"
    submitter = "submitter"
    admin = "admin"
    operator = "operator"


class Audience(StrEnum):
    """What a token may be shown to."""

    controller = "controller"
    parameters = "parameters"
    trainer = "trainer"
    inference = "inference"


@token.callback()
def tokens() -> None:
    """Make, list and revoke tokens of people and programs."""


@token.command("create")
def create(  # noqa: PLR0917 - typer's
    context: typer.Context,
    subject: Annotated[
        str,
        typer.Argument(metavar="WHO", help="A person or a program, as `ada` or `web-app`."),
    ],
    role: Annotated[
        RoleName,
        typer.Option(
            help="viewer: see, and ask models; submitter: and run jobs; admin: and make tokens;"
            " operator: and run the platform."
        ),
    ] = RoleName.submitter,
    ttl: Annotated[
        str, typer.Option(metavar="TIME", help="How long it is valid: `90d`, `12h`, `30m`.")
    ] = "90d",
    tenant: TenantOption = "",
    audience: Annotated[
        list[Audience] | None,
        typer.Option(
            help="Only for this service; once for each. A program that asks models"
            " needs `controller` and `inference`."
        ),
    ] = None,
) -> None:
    """Make a token, and print it: this once, for it is stored nowhere.

    Examples:
        tessera token create ada
        tessera token create web-app --role viewer --ttl 30d --tenant shop
        TESSERA_TOKEN=$(tessera token create ci --ttl 1h) tessera jobs
    """
    valid = _duration(ttl)
    with connect(context) as client:
        secret, made = client.access.create_token(
            subject,
            role.value,
            valid,
            tenant=tenant,
            audience=[service.value for service in audience or ()],
        )
    if options_of(context).json:
        show.as_json({"secret": secret, "id": made.id, "tenant": made.tenant})
        return
    show.line(secret)
    show.note(f"token {made.id} of {made.subject}, {_role(made)} of {made.tenant}, for {ttl}")


@token.command("list")
def list_tokens(context: typer.Context, tenant: TenantOption = "") -> None:
    """List what is known of tokens, newest first; never the tokens themselves."""
    with connect(context) as client:
        known = client.access.tokens(tenant)
    if options_of(context).json:
        show.as_json(known)
        return
    rows = [
        (one.id, one.subject, _role(one), one.creator, show.age(one.create_time), _state(one))
        for one in known
    ]
    columns = ("ID", "WHO", "ROLE", "BY", "AGE", "STATE")
    show.table(columns, rows, empty="no tokens; `tessera token create WHO` makes one")


@token.command("revoke")
def revoke(
    context: typer.Context,
    token_id: Annotated[str, typer.Argument(metavar="ID", help="As `token list` shows it.")],
    tenant: TenantOption = "",
) -> None:
    """Make a token worthless, everywhere within a few seconds."""
    with connect(context) as client:
        gone = client.access.revoke_token(token_id, tenant)
    if options_of(context).json:
        show.as_json(gone)
        return
    show.line(f"token {gone.id} of {gone.subject} is revoked")


def _duration(text: str) -> timedelta:
    """`90d` as a time.

    Raises:
        BadParameter: it is none.
    """
    match = re.fullmatch(r"([0-9]{1,6})([mhd])", text)
    if match is None:
        raise typer.BadParameter(f"--ttl: `{text}` is no time; write `90d`, `12h` or `30m`")
    return timedelta(**{UNITS[match[2]]: int(match[1])})


def _role(value: Token) -> str:
    return TokenRole.Name(value.role).removeprefix("TOKEN_ROLE_").lower()


def _state(value: Token) -> str:
    if value.HasField("revoke_time"):
        return "revoked"
    left = value.expire_time.seconds - time.time()
    return f"{show.duration(left)} left" if left > 0 else "expired"
