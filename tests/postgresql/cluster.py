"""One real PostgreSQL in a folder of its own, reached by a unix socket (`with Cluster() as cluster`).

The server may be stopped, killed, paused and started again: its address never changes. It refuses to run as root, so root
runs it as the user that the distribution's package made. Its texts sort as English does and not by their bytes, as on most
machines of a site, and it asks for a password.
"""

from __future__ import annotations

import itertools
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import psycopg
from psycopg import sql

DEBIAN = Path("/usr/lib/postgresql")
ACCOUNT = "postgres"
USER = "site"
READY_WITHIN_S = 60.0
DIE_WITH_PARENT = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
SETTINGS = {"fsync": "off", "full_page_writes": "off", "max_connections": "50", "shared_buffers": "32MB"}
"""A killed server keeps what the kernel has: only a machine that dies needs fsync."""


class PostgresqlMissingError(Exception):
    """There is no server to start here."""


def programs() -> Path:
    """The folder of initdb and postgres.

    Raises:
        PostgresqlMissingError: they are not installed, or root has nobody to run them as.
    """
    found = sorted(DEBIAN.glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    folder = found[-1].parent if found else None
    if folder is None and (on_path := shutil.which("initdb")) is not None:
        folder = Path(on_path).resolve().parent
    if folder is None:
        raise PostgresqlMissingError("initdb is not installed (Debian's package postgresql)")
    if os.geteuid() == 0 and ACCOUNT not in {one.pw_name for one in pwd.getpwall()}:
        raise PostgresqlMissingError(f"root cannot run PostgreSQL, and there is no user {ACCOUNT!r}")
    return folder


class Cluster:
    """A server and its databases. `settings` go into postgresql.conf."""

    def __init__(self, **settings: str) -> None:
        self._programs = programs()
        self._as: dict[str, Any] = {}
        if os.geteuid() == 0:
            self._as = {"user": ACCOUNT, "group": ACCOUNT, "extra_groups": []}
        self.folder = Path(tempfile.mkdtemp(prefix="pg"))  # a socket's path has at most 107 characters
        self.password = secrets.token_hex(16)
        self._settings = SETTINGS | {"listen_addresses": "", "unix_socket_directories": str(self.folder)} | settings
        self._process: subprocess.Popen[bytes] | None = None
        self._names = itertools.count(1)

    def __enter__(self) -> Self:
        try:
            self._make()
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self.resume()
            self.stop("immediate")
        shutil.rmtree(self.folder, ignore_errors=True)

    def _make(self) -> None:
        password = self.folder / "password"
        password.write_text(self.password)
        if self._as:
            for path in (self.folder, password):
                shutil.chown(path, ACCOUNT, ACCOUNT)
        subprocess.run(
            [self._programs / "initdb", "--pgdata", self.folder / "data", "--username", USER, "--pwfile", password,
             "--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C.UTF-8", "--locale-provider", "icu",
             "--icu-locale", "en-US", "--no-sync", "--no-instructions"],
            check=True, stdout=subprocess.DEVNULL, cwd=self.folder, **self._as,
        )  # fmt: skip
        with (self.folder / "data" / "postgresql.conf").open("a") as conf:
            conf.writelines(f"{name} = '{value}'\n" for name, value in self._settings.items())

    def start(self) -> None:
        """Start it and wait until it serves."""
        log = (self.folder / "log").open("ab")
        with log:
            self._process = subprocess.Popen(
                [*DIE_WITH_PARENT, self._programs / "postgres", "-D", self.folder / "data"],
                stdout=log, stderr=log, cwd=self.folder, env=self._env(), **self._as,
            )  # fmt: skip
        deadline = time.monotonic() + READY_WITHIN_S
        while True:
            try:
                self.connect().close()
            except psycopg.OperationalError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
            else:
                return

    @staticmethod
    def _env() -> dict[str, str]:
        """Ours, without the socket of a supervisor: a server tells it that it is ready, and waits while nobody reads that."""
        return {name: value for name, value in os.environ.items() if name != "NOTIFY_SOCKET"}

    def stop(self, how: str = "fast") -> None:
        """`fast` ends connections and shuts down, `immediate` recovers at the next start."""
        if self._process is not None:
            self._process.send_signal({"fast": signal.SIGINT, "immediate": signal.SIGQUIT}[how])
            self._process.wait()
            self._process = None

    def pause(self) -> None:
        """SIGSTOP: every process of it stands still, and connections stay open."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        os.kill(self._process.pid, number)
        for child in map(int, children):
            with suppress(ProcessLookupError):  # a server process ends with its connection, between list and signal
                os.kill(child, number)

    def connect(self, database: str = "postgres") -> psycopg.Connection:
        """A connection that commits each statement."""
        return psycopg.connect(
            host=str(self.folder), user=USER, password=self.password, dbname=database, autocommit=True
        )

    def database(self) -> str:
        """The name of a new, empty database."""
        name = f"itbwatch{next(self._names)}"
        with self.connect() as connection:
            connection.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
        return name

    def address(self, database: str) -> str:
        """What a site writes into the file of `store.url_file`."""
        return f"postgresql+psycopg://{USER}:{self.password}@/{database}?host={self.folder}"
