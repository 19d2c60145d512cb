"""PostgreSQL: one database for several workers, at an address that only their user may read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError

from detector.errors import ConfigError
from pipelines.settings import is_loopback, read_secret_line
from pipelines.store.listening import Connection, Patience

POSTGRESQL: Final = "PostgreSQL"
"""What the store is called in messages: its address holds a password."""

DRIVER: Final = "postgresql+psycopg"
WHERE: Final = "$.store.url_file"

LIMITS: Final = {
    "connect_timeout": "5", "keepalives_idle": "5", "keepalives_interval": "5", "keepalives_count": "3",
    "tcp_user_timeout": "20000",
    "options": "-c idle_in_transaction_session_timeout=15s -c lock_timeout=30s",
}  # fmt: skip
"""A server that does not answer a new connection, or whose machine is gone, is an error within seconds; by the system's own
defaults it may be a quarter of an hour. One that hangs while it is connected is not seen by this (``listening``). The server lets go of the
rows of a worker that stands still in the middle of a transaction, so that the worker that took over its partitions can go
on; the one that stood still finds its connection gone.
"""

ENCRYPTED: Final = {"sslmode": "verify-full"}
"""By libpq's own default a server that offers no TLS gets the password and the patients in the clear."""

MAKING: Final = 0x1_7B_57_0E
"""The turn of whoever makes or takes over the tables."""

SERVING: Final = 0x1_7B_57_10
"""Shared by every connection of every service, so that whoever must be alone can tell."""

CHAINING: Final = 0x1_7B_57_0F
"""The turn of whoever adds to the audit chain."""


def read_address(path: str) -> sa.URL:
    """The address in the file of ``store.url_file``.

    Raises:
        ConfigError: it cannot be read, or holds no such address; what it holds is not repeated, it may be a password.
    """
    try:
        address = sa.make_url(read_secret_line(path, WHERE))
    except (ArgumentError, ValueError):
        address = None
    if address is None or address.drivername != DRIVER:
        problem = f"{path!r} holds no such address; expected {DRIVER}://user:password@host/name"
        raise ConfigError([f"config.yaml {WHERE}: {problem}"])
    return address


def open_postgresql(address: sa.URL, patience: Patience, *, read_only: bool, serving: bool) -> sa.Engine:
    """Connections to the database; what the address says itself goes before our own limits.

    Those of a service (``serving``) say so for as long as they live; they wait for a purge to end.
    """
    own = LIMITS if _stays_here(address) else LIMITS | ENCRYPTED
    left_open = {name: value for name, value in own.items() if name not in address.query}
    if isinstance(said := address.query.get("options"), str):
        left_open["options"] = f"{own['options']} {said}"  # of two that set the same, the server takes the last
    engine = sa.create_engine(address.update_query_dict(left_open), pool_pre_ping=True)

    @sa.event.listens_for(engine, "do_connect")
    def _connect(_dialect: Any, _record: Any, values: Sequence[Any], named: dict[str, Any]) -> Connection:
        connection = Connection.connect(*values, **named)
        connection.patience = patience
        if serving:
            connection.execute("select pg_advisory_lock_shared(%s)", [SERVING])
            connection.commit()
        return connection

    return engine.execution_options(postgresql_readonly=True) if read_only else engine


def _stays_here(address: sa.URL) -> bool:
    """Whether every host it names is on loopback. One that names none may get it from the environment: it does not count.

    A path of a unix socket does not count either, because libpq ignores sslmode there.
    """
    named = [address.host or ""]
    for name in ("host", "hostaddr"):
        said = address.query.get(name, ())
        named += said.split(",") if isinstance(said, str) else said
    hosts = [host for host in named if host]
    return bool(hosts) and all(map(is_loopback, hosts))


def take_turn(connection: sa.Connection, turn: int) -> None:
    """Wait until no other worker is at this, and keep the turn to the end of the transaction. SQLite has one writer."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(turn)))


def no_service_runs(connection: sa.Connection) -> bool:
    """Whether no service is connected to this PostgreSQL; none is until the end of the transaction, if so."""
    return bool(connection.scalar(sa.select(sa.func.pg_try_advisory_xact_lock(SERVING))))
