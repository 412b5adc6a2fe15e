"""From the global options to a client."""

from __future__ import annotations

import logging

import structlog
import typer

from tessera.cli.options import GlobalOptions
from tessera.client import Client


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
    return Client(options.address, options.token, options.home)
