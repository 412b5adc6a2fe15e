"""A real PostgreSQL server for a session's tests, and a database of its own for each of them."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from tessera.controller.store.engine import engine
from tessera.controller.store.migrating import migrate

_OPTIONS = "-c listen_addresses= -c fsync=off -c max_connections=60"


class PostgresServer:
    """A server on a Unix socket; it runs as another account where this one is root."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._as, self._migrated = None, ""
        if os.getuid() == 0:
            with contextlib.suppress(KeyError):
                self._as = pwd.getpwnam("nobody")
        if self._as:
            os.chown(folder, self._as.pw_uid, self._as.pw_gid)
        self._run("initdb", "-D", "data", "-A", "trust", "-U", "tessera", "-E", "UTF8", "--no-sync")
        self.start()

    def start(self) -> None:
        options = f"{_OPTIONS} -k {self.folder}"
        self._run("pg_ctl", "-D", "data", "-w", "-l", "log", "-o", options, "start")

    def stop(self, mode="fast") -> None:
        self._run("pg_ctl", "-D", "data", "-w", "-m", mode, "stop")

    def url(self, name: str) -> str:
        return f"postgresql+psycopg://tessera@/{name}?host={self.folder}"

    def fresh(self, template="template1") -> str:
        """The URL of a new database, empty but for what the template has."""
        name = f"t{uuid.uuid4().hex}"
        plain = sa.create_engine(self.url("postgres"), isolation_level="AUTOCOMMIT")
        with plain.connect() as connection:
            connection.exec_driver_sql(f"CREATE DATABASE {name} TEMPLATE {template}")
        plain.dispose()
        return self.url(name)

    def migrated(self) -> str:
        """The URL of a new database with all tables; they are made once."""
        if not self._migrated:
            self._migrated = self.fresh().rpartition("?")[0].rpartition("/")[2]
            made = engine(self.url(self._migrated), "", 1)
            with made.begin() as connection:
                migrate(connection)
            made.dispose()
        return self.fresh(self._migrated)

    def _run(self, program: str, *arguments: str) -> None:
        found = shutil.which(program)
        done = subprocess.run(
            [found, *arguments],
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE if program == "initdb" else subprocess.DEVNULL,
            user=self._as.pw_uid if self._as else None,
            group=self._as.pw_gid if self._as else None,
            extra_groups=[] if self._as else None,
            env={"PATH": os.environ["PATH"], "LC_ALL": "C", "HOME": str(self.folder)},
            check=False,
        )
        assert done.returncode == 0, (program, done.stderr)


@contextlib.contextmanager
def server() -> Iterator[PostgresServer]:
    if any(shutil.which(name) is None for name in ("postgres", "initdb", "pg_ctl")):
        pytest.skip("no PostgreSQL server is installed")
    # Short: the name of a socket has at most 107 letters.
    with tempfile.TemporaryDirectory(prefix="pg", dir="/tmp") as folder:
        made = PostgresServer(Path(folder))
        try:
            yield made
        finally:
            made.stop("immediate")


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    with server() as made:
        yield made
