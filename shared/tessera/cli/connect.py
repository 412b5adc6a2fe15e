"""From the global options to a client."""

from __future__ import annotations

import logging

import structlog
import typer

from tessera.cli.settings import Settings
from tessera.client import Client


def settings_of(context: typer.Context) -> Settings:
    """The global options of a command."""
    assert isinstance(context.obj, Settings)
    return context.obj


def connect(context: typer.Context) -> Client:
    """A client of the platform that the global options name.

    Raises:
        FailedPreconditionError: NO_PLATFORM.
    """
    # People see errors, not the events of the plumbing.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    settings = settings_of(context)
    return Client(settings.address, settings.token, settings.home)
