"""From the global options to a client."""

from __future__ import annotations

import logging
from collections.abc import Callable

import structlog
import typer

from tessera.cli.options import GlobalOptions
from tessera.client import Client
from tessera.client.oidc import from_command, from_file


def options_of(context: typer.Context) -> GlobalOptions:
    """The global options of a command."""
    assert isinstance(context.obj, GlobalOptions)
    return context.obj


def connect(context: typer.Context) -> Client:
    """A client of the platform that the global options name.

    Raises:
        FailedPreconditionError: NO_PLATFORM.
    """
    # People see errors, not the events of the plumbing.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    options = options_of(context)
    return Client(options.address, options.token, options.home, ca=options.ca, oidc=_oidc(options))


def _oidc(options: GlobalOptions) -> Callable[[], str] | None:
    """Where the tokens of an OIDC issuer come from, if any do."""
    if options.oidc_token_file:
        return from_file(options.oidc_token_file)
    if options.oidc_token_command:
        return from_command(options.oidc_token_command)
    return (lambda: options.oidc_token) if options.oidc_token else None
