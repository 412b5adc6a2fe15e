"""`tessera`: global options, the table of commands, and what errors look like.

A command's module is imported when the command is run, so that help and mistakes cost nothing.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
import io
import keyword
import os
import re
import signal
import sys
import textwrap
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from tessera import errors
from tessera.cli.exit_codes import DONE, FAILED, INTERRUPTED, MISTAKE, ended_by
from tessera.cli.options import GlobalOptions, Output

COMMANDS = {
    "up": ("tessera.cli.up", "Start the platform on this machine."),
    "down": ("tessera.cli.down", "End the platform: exactly the processes that it started."),
    "status": ("tessera.cli.status", "Show what runs, and where."),
    "data": ("tessera.cli.data", "Look at files of data, and write a spec that learns from them."),
    "submit": ("tessera.cli.submit", "Submit a job: a YAML file."),
    "jobs": ("tessera.cli.jobs", "List jobs, newest first."),
    "job": ("tessera.cli.jobs", "Show one job."),
    "watch": ("tessera.cli.watch", "Watch a job until it ends."),
    "logs": ("tessera.cli.logs", "Print log lines of a job."),
    "metrics": ("tessera.cli.metrics", "Plot the losses of a job."),
    "explain": ("tessera.cli.explain", "Tell why a job waits, and what would let it start."),
    "cancel": ("tessera.cli.jobs", "Cancel a job; it ends within two steps."),
    "pause": ("tessera.cli.life", "Let a job commit a version and give its place back."),
    "resume": ("tessera.cli.life", "Let a paused job go on from its last version."),
    "hold": ("tessera.cli.life", "Keep a job from being started."),
    "release": ("tessera.cli.life", "Let a held job wait for room again."),
    "requeue": ("tessera.cli.life", "Let a running job wait for another place."),
    "priority": ("tessera.cli.life", "Change the priority of a job."),
    "purge": ("tessera.cli.purge", "Drop ended jobs with their history and logs."),
    "checkpoint": ("tessera.cli.checkpoint", "Let a running job commit a version now."),
    "sets": ("tessera.cli.sets", "List parameter sets."),
    "versions": ("tessera.cli.sets", "List the versions of a set."),
    "diff": ("tessera.cli.diff", "Tell what lies between two versions, tensor by tensor."),
    "rollback": ("tessera.cli.rollback", "Let readers of a set get an earlier version again."),
    "verify": ("tessera.cli.sets", "Hold a version against its checksums."),
    "delete": ("tessera.cli.delete", "Drop all versions of a set, and the set."),
    "export": ("tessera.cli.sets", "Write a version as a folder that transformers loads."),
    "import": ("tessera.cli.sets", "Commit a model that transformers wrote as a version."),
    "deploy": ("tessera.cli.deployments", "Have a version served."),
    "undeploy": ("tessera.cli.deployments", "End a deployment."),
    "models": ("tessera.cli.deployments", "List deployments."),
    "model": ("tessera.cli.model", "Show what a deployed model is, and what one can ask it."),
    "generate": ("tessera.cli.generate", "Let a deployed model continue prompts."),
    "translate": ("tessera.cli.translate", "Write what belongs to each text."),
    "classify": ("tessera.cli.classify", "Tell the classes of each text, or of its tokens."),
    "fill-mask": ("tessera.cli.fill_mask", "Tell what may stand where a text has the mask token."),
    "answer": ("tessera.cli.answer", "Find the answer to each question in its context."),
    "embed": ("tessera.cli.embed", "Turn each text into a vector."),
    "score": ("tessera.cli.score", "Tell how likely the model finds each text."),
    "pools": ("tessera.cli.pools", "List the Ray clusters that work is placed on."),
    "nodes": ("tessera.cli.nodes", "List the nodes of all pools, with what is free on each."),
    "queues": ("tessera.cli.queues", "List the queues, with what each has, and how it is used."),
    "usage": ("tessera.cli.usage", "Show what jobs have held, and what it costs."),
    "shards": (
        "tessera.cli.shards",
        "List the shards that hold parameter sets, and what each holds.",
    ),
    "tenants": (
        "tessera.cli.tenants",
        "List the tenants, with what each has of what it may have.",
    ),
    "token": ("tessera.cli.token", "Make, list and revoke tokens of people and programs."),
    "keys": ("tessera.cli.keys", "The keys that sign tokens."),
    "audit": ("tessera.cli.audit", "Show who did what, newest first."),
    "dashboards": ("tessera.cli.dashboards", "Write boards for Grafana, and what to scrape."),
    "schema": ("tessera.cli.schema", "Print the JSON schema of a job's file."),
}
"""Name of each command, which is that of its function: its module and one line of help."""

_EXAMPLE = "tessera "
"""What the lines of examples in the docstring of a command begin with."""

GLOBAL = (
    "--home", "--address", "--ca", "--output", "--oidc-token-file", "--oidc-token-command"
)  # fmt: skip
SURROGATE = re.compile("[\ud800-\udfff]")
"""What Python makes of bytes that are no text."""

QUOTED_LINES, QUOTED_WIDTH = 20, 4096
"""What of a quoted log is shown at most."""

MISTAKES = (
    errors.InvalidArgumentError,
    errors.OutOfRangeError,
    errors.NotFoundError,
    errors.AlreadyExistsError,
    errors.FailedPreconditionError,
)


class Commands(TyperGroup):
    """Commands that are imported when they are run."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Their names, in the order of the table."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Import one."""
        del ctx
        if cmd_name not in COMMANDS:
            near = difflib.get_close_matches(cmd_name, COMMANDS, n=1)
            hint = f"did you mean `{near[0]}`?" if near else "see `tessera --help`"
            raise errors.InvalidArgumentError(
                f"there is no command `{cmd_name}`; {hint}", reason="UNKNOWN_COMMAND"
            )
        module, summary = COMMANDS[cmd_name]
        function = getattr(importlib.import_module(module), _function(cmd_name))
        if isinstance(function, typer.Typer):
            return typer.main.get_command(function)
        single = typer.Typer(add_completion=False, rich_markup_mode=None)
        single.command(cmd_name, help=help_of(function, summary))(function)
        return typer.main.get_command(single)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Their help, without importing them."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])


app = typer.Typer(
    cls=Commands,
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def options(  # noqa: PLR0917 - typer fills in options by name
    context: typer.Context,
    home: Annotated[
        Path, typer.Option(envvar="TESSERA_HOME", help="Folder of the platform on this machine.")
    ] = Path("~/.tessera"),
    address: Annotated[
        str, typer.Option(envvar="TESSERA_ADDRESS", help="Controller, host:port.")
    ] = "",
    ca: Annotated[
        str,
        typer.Option(envvar="TESSERA_CA", help="File with the authority of its certificate."),
    ] = "",
    token: Annotated[str, typer.Option(envvar="TESSERA_TOKEN", hidden=True)] = "",
    oidc_token_file: Annotated[
        Path | None,
        typer.Option(envvar="TESSERA_OIDC_TOKEN_FILE", help="File with an OIDC token, read anew."),
    ] = None,
    oidc_token_command: Annotated[
        str,
        typer.Option(envvar="TESSERA_OIDC_TOKEN_COMMAND", help="Command that prints one."),
    ] = "",
    oidc_token: Annotated[str, typer.Option(envvar="TESSERA_OIDC_TOKEN", hidden=True)] = "",
    output: Annotated[
        Output, typer.Option(help="Text for people, JSON for machines.")
    ] = Output.TEXT,
) -> None:
    """Train, shard and serve Transformers."""
    given = {"--home": str(home), "--address": address, "--ca": ca, "--token": token}
    for name, value in given.items():
        check_text(name, value)
    context.obj = GlobalOptions(
        home=home,
        address=address,
        ca=ca,
        token=token,
        output=output,
        oidc_token_file=oidc_token_file,
        oidc_token_command=oidc_token_command,
        oidc_token=oidc_token,
    )


def run(arguments: Sequence[str]) -> int:
    """Run one command line; returns its exit code."""
    try:
        command = typer.main.get_command(app)
        given = hoist(decoded(arguments))
        result = command.main(given, prog_name="tessera", standalone_mode=False)
    except KeyboardInterrupt:
        return INTERRUPTED
    except errors.TesseraError as error:
        code = MISTAKE if isinstance(error, MISTAKES) else FAILED
        return _told(error.message, code, error.quote)
    except typer.Abort:
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001 - people see one line, whatever it was
        return _other(error)
    return result if isinstance(result, int) else DONE


def main() -> None:
    """The console script."""
    if sys.getfilesystemencoding() == "ascii":
        # A locale that knows no letters but A to Z: texts and names are UTF-8 all the same.
        environ = {**os.environ, "PYTHONUTF8": "1"}
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environ)  # noqa: S606 - this very program
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # It was closed by whoever started us.
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115 - until the end
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # What a terminal has no letter for is told by its number.
            stream.reconfigure(errors="backslashreplace")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(ended_by(signal.SIGTERM)))
    sys.exit(run(sys.argv[1:]))


def decoded(arguments: Sequence[str]) -> list[str]:
    """The arguments, of which each is text.

    Raises:
        InvalidArgumentError: NOT_UTF8.
    """
    for index, argument in enumerate(arguments):
        option, equals, _ = argument.partition("=")
        before = arguments[index - 1] if index else ""
        if argument.startswith("-") and equals:
            name = option
        else:
            name = before if before.startswith("--") else f"argument {index + 1}"
        check_text(name, argument)
    return list(arguments)


def check_text(name: str, value: str) -> None:
    """Refuse a value that is no text.

    Raises:
        InvalidArgumentError: NOT_UTF8.
    """
    if SURROGATE.search(value):
        shown = os.fsencode(value).decode(errors="backslashreplace")
        raise errors.InvalidArgumentError(f"{name}: `{shown}` is not UTF-8", reason="NOT_UTF8")


def hoist(arguments: Sequence[str]) -> list[str]:
    """Global options may stand after the command as well: put them in front."""
    front: list[str] = []
    rest: list[str] = []
    remaining = iter(arguments)
    for argument in remaining:
        if argument == "--":
            rest += [argument, *remaining]
        elif argument in GLOBAL:
            front += [argument, *(value for value in [next(remaining, None)] if value is not None)]
        elif argument.startswith(tuple(f"{name}=" for name in GLOBAL)):
            front.append(argument)
        else:
            rest.append(argument)
    return front + rest


def help_of(function: Callable[..., None], summary: str) -> str:
    """The summary of a command, and what its docstring adds: paragraphs, and then examples."""
    _, *more = (inspect.getdoc(function) or "").split("\n\n")
    # click keeps the lines of a paragraph that begins in this way.
    kept = [
        f"\b\nExamples:\n{textwrap.indent(part, '  ')}" if part.startswith(_EXAMPLE) else part
        for part in more
    ]
    return "\n\n".join([summary, *kept])


def _function(command: str) -> str:
    """A command's name as Python writes it: `fill_mask`, `import_`."""
    name = command.replace("-", "_")
    return f"{name}_" if keyword.iskeyword(name) else name


def _other(error: Exception) -> int:
    """Usage errors of typer's, and defects."""
    describe = getattr(error, "format_message", None)
    if describe is None:
        return _told(f"unexpected {type(error).__name__}: {error}", FAILED)
    if type(error).__name__ == "NoArgsIsHelpError":
        sys.stderr.write(f"{describe()}\n")
        return MISTAKE
    context = getattr(error, "ctx", None)
    hint = f" (see `{context.command_path} --help`)" if context is not None else ""
    message = describe().replace("Value error, ", "").rstrip(".")
    return _told(f"{message}{hint}", MISTAKE)


def _told(message: str, code: int, quote: str = "") -> int:
    """One line on stderr, and below it what is quoted; with TESSERA_DEBUG=1 first the traceback."""
    if os.environ.get("TESSERA_DEBUG") == "1":
        traceback.print_exc()
    sys.stderr.write(f"tessera: {' '.join(message.split())}\n")
    for line in quote.splitlines()[-QUOTED_LINES:]:
        sys.stderr.write(f"  {line[:QUOTED_WIDTH]}\n")
    return code
