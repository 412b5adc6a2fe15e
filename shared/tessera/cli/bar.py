"""A bar for work that takes a while; apart, for most commands need none and need not import it."""

from __future__ import annotations

from rich.progress import Progress

from tessera.cli import show


def progress_bar() -> Progress:
    """A bar on a terminal, gone when it ends; nothing elsewhere."""
    terminal = show.console(stderr=True)
    return Progress(console=terminal, transient=True, disable=not terminal.is_terminal)
