"""SQLite: one writing process, guarded by a lock file, and one writing connection.

Releases before 3.51.3 can corrupt a file that two connections checkpoint at once. Other processes and threads open it
read-only.
"""

from __future__ import annotations

import fcntl
import os
import stat
from pathlib import Path
from typing import IO, Any

import sqlalchemy as sa

from pipelines.errors import StoreError


def open_sqlite(path: Path, *, read_only: bool) -> sa.Engine:
    """The database file.

    Raises:
        StoreError: it is to be read only and is not there.
    """
    if read_only and not path.exists():
        raise StoreError(f"store {path}: no such file; expected the database of a running or stopped service")
    mode = "ro" if read_only else "rw"
    options = {"pool_size": 1, "max_overflow": 0} if not read_only else {}
    engine = sa.create_engine(f"sqlite:///file:{path.absolute()}?mode={mode}&uri=true", **options)
    if not read_only:
        sa.event.listen(engine, "connect", _durable)
    return engine


def lock_for_writing(path: Path) -> IO[bytes]:
    """Make the file if need be, and take the lock that its one writer holds until it closes this.

    Raises:
        StoreError: it cannot be written, or another process writes it.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, stat.S_IRUSR | stat.S_IWUSR)
        os.fchmod(descriptor, stat.S_IRUSR | stat.S_IWUSR)
        os.close(descriptor)
        lock = Path(f"{path}.lock").open("wb")  # noqa: SIM115 - held as long as the store is open
    except OSError as error:
        raise StoreError(f"store {path}: cannot be opened ({error.strerror}); expected a writable path") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        lock.close()
        raise StoreError(
            f"store {path}: another process writes it; expected one writer; stop that one or set store.path"
        ) from error
    return lock


def _durable(connection: Any, _record: object) -> None:
    """A commit that returned is on the disk; readers never block the writer."""
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=5000"):
        connection.execute(f"PRAGMA {pragma}")
