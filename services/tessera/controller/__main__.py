"""`python -m tessera.controller`: read the configuration, run until SIGTERM or Ctrl-C."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from pathlib import Path

from tessera import errors
from tessera.controller.app import Controller
from tessera.controller.config import Config, parse_listen, parse_pool
from tessera.controller.pools.secrets import PREFIX
from tessera.controller.store.engine import parse
from tessera.environment import keep_private
from tessera.log import configure_logging
from tessera.rpc.issuer_tls import check_authorities
from tessera.rpc.platform_limits import PlatformLimits
from tessera.rpc.policy.oidc import OidcConfig
from tessera.spec.configuration import read

_EPILOG = """\
environment:
  RAY_AUTH_MODE=token        the pools ask for Ray's token
  RAY_AUTH_TOKEN_PATH=FILE   the file that holds it, for the pools of --pool
  TESSERA_SECRET_…=TOKEN     what a pool may name as its token; so may it a file in HOME/secrets

example:
  python -m tessera.controller --listen 127.0.0.1:7400 --home ~/.tessera \\
      --pool local,http://127.0.0.1:8265,127.0.0.1:6379 --shards 2

Everything durable is below --home. Stopping the controller stops no job; a new one on the same
home goes on where the old one ended. Logs go to standard error.
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        prog="python -m tessera.controller",
        description="Takes jobs in, places them on Ray clusters and keeps their history.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_itself(made)
    _add_tls(made)
    _add_pools(made)
    return made


def _add_itself(made: argparse.ArgumentParser) -> None:
    made.add_argument(
        "--listen",
        default="127.0.0.1:7400",
        metavar="HOST:PORT",
        help="address to listen on; port 0 takes any free one (default: %(default)s)",
    )
    made.add_argument(
        "--advertise",
        default="",
        metavar="HOST:PORT",
        help="address that drivers and actors call, where it is not the one of --listen",
    )
    made.add_argument(
        "--home", type=Path, required=True, help="folder of the store, keys, logs and blobs"
    )
    made.add_argument(
        "--database",
        default="",
        metavar="URL",
        help="SQLAlchemy URL of the store, postgresql+psycopg://… for several controllers (default:"
        " SQLite in the home)",
    )
    made.add_argument(
        "--limits", type=Path, metavar="FILE", help="YAML file of how much anybody may have"
    )
    made.add_argument(
        "--oidc", type=Path, metavar="FILE", help="YAML file of the OIDC issuers that are believed"
    )


def _add_tls(made: argparse.ArgumentParser) -> None:
    made.add_argument(
        "--tls",
        action="store_true",
        help="encrypt all connections; the authority and its ca.crt are in HOME/tls",
    )
    made.add_argument(
        "--tls-dir",
        type=Path,
        metavar="DIR",
        help="folder with tls.crt, tls.key and ca.crt of the controller, which are read again when "
        "they change (default: a certificate is made)",
    )


def _add_pools(made: argparse.ArgumentParser) -> None:
    made.add_argument(
        "--pool",
        action="append",
        default=[],
        metavar="NAME,DASHBOARD_URL,GCS_ADDRESS",
        help="a Ray cluster to place work on; may be given several times, the first one carries "
        "the parameter service",
    )
    made.add_argument(
        "--shards",
        type=int,
        default=2,
        metavar="N",
        help="parameter shards to keep standing; 0: no parameter service (default: %(default)s)",
    )
    made.add_argument(
        "--disk-cap-bytes",
        type=int,
        default=0,
        metavar="N",
        help="bytes that the parameter service may use on disk; 0: no cap (default: %(default)s)",
    )
    made.add_argument(
        "--parameter-replicas",
        type=int,
        default=0,
        metavar="N",
        help="shards that have each piece of a version; 0: two where there are two nodes, else one"
        " (default: %(default)s)",
    )
    made.add_argument(
        "--python",
        default="python",
        metavar="PATH",
        help="interpreter that the pools run drivers with (default: %(default)s)",
    )


def config(arguments: list[str]) -> Config:
    """The configuration of a command line and the environment; exits with 2 if it is wrong."""
    made = parser()
    given = made.parse_args(arguments)
    token = os.environ.get("RAY_AUTH_TOKEN_PATH", "")
    try:
        host, port = parse_listen(given.listen)
        if given.database:
            parse(given.database)
        return Config(
            host=host,
            port=port,
            home=given.home.expanduser(),
            advertise=given.advertise,
            database=given.database,
            pools=tuple(parse_pool(text) for text in given.pool),
            shards=given.shards,
            disk_cap=given.disk_cap_bytes,
            parameter_replicas=given.parameter_replicas,
            ray_token=Path(token) if token else None,
            secrets={k: v for k, v in os.environ.items() if k.startswith(PREFIX)},
            python=given.python,
            limits=read(given.limits, PlatformLimits) if given.limits else PlatformLimits(),
            oidc=_issuers(given.oidc) if given.oidc else None,
            tls=given.tls or given.tls_dir is not None,
            tls_dir=given.tls_dir,
        )
    except (ValueError, errors.InvalidArgumentError) as error:
        made.error(str(error))


def _issuers(path: Path) -> OidcConfig:
    issuers = read(path, OidcConfig)
    check_authorities(issuers)
    return issuers


async def run(given: Config) -> int:
    """Serve until a signal; returns the exit code."""
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    controller = Controller(given)
    try:
        await controller.start()
        waiting = asyncio.ensure_future(ended.wait())
        await asyncio.wait({waiting, controller.failed}, return_when=asyncio.FIRST_COMPLETED)
        if controller.failed.done():
            controller.failed.result()
    except errors.TesseraError as error:
        sys.stderr.write(f"controller: {error.message}\n")
        return 1
    finally:
        await controller.stop()
    return 0


def main() -> None:
    """Run the controller."""
    keep_private()
    configure_logging("controller")
    sys.exit(asyncio.run(run(config(sys.argv[1:]))))


if __name__ == "__main__":
    main()
