"""`itbwatch stream` on a file, as a process, with system calls of its main thread (which writes all that counts) killed or
failed by strace; and all that a run leaves behind, so that two runs can be compared.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from operator import itemgetter
from pathlib import Path
from typing import Any

import msgspec

from detector.plan import Plan
from pipelines.settings import Settings
from pipelines.settings import Store as StoreSettings
from pipelines.store import Store
from pipelines.store.audit import first_broken
from tests.torture.courses import Course
from tests.torture.oracle import Difference, expected, published, stored

CALLS = "write,pwrite64,fsync,fdatasync,rename,unlink,ftruncate"
"""The system calls that change what is kept or sent."""
HANGS_AFTER_S = 120.0
TIMES = {"stored_at", "first_at", "last_at"}
"""Columns that say when; two runs cannot agree on them."""
SETTINGS = Settings.model_validate({"time": "stream", "models": {"enabled": False}})
"""The oracle has no models."""


class Hangs(Exception):
    """The service neither ended nor got anywhere."""


def may_trace() -> bool:
    """Whether strace is there and is let."""
    if shutil.which("strace") is None:
        return False
    return subprocess.run(["strace", "-o", "/dev/null", "true"], capture_output=True, check=False).returncode == 0


class FileRun:
    """A folder with a file of events, a configuration, a store, and two files of what is sent."""

    def __init__(self, folder: Path, course: Course) -> None:
        self.folder = folder
        self._course = course
        folder.mkdir()
        lines = [one.value for one in course.log if one.key is not None] + [course.log[-1].value]
        (folder / "events.ndjson").write_bytes(b"".join(line + b"\n" for line in lines))
        (folder / "config.yaml").write_text(json.dumps({
            "source": "file", "time": "stream", "poll": {"max_records": 4, "timeout_ms": 20}, "http": {"port": 0},
            "file": {"path": "events.ndjson", "alerts": "alerts.ndjson", "deadletters": "dead.ndjson"},
            "store": {"path": "store.sqlite"}, "logging": {"level": "error"}, "models": {"enabled": False},
        }))  # fmt: skip

    def run(self, inject: str | None = None, *, counted: bool = False) -> int | None:
        """Start it and wait until it ends, or has read and sent everything: then it is stopped. Returns the exit status.

        ``inject`` is what strace does, as in ``fsync:signal=KILL:when=3``; it counts the calls of each name by itself.
        ``counted`` = ``calls`` will be asked for.

        Raises:
            Hangs: it does neither.
        """
        traced: list[str] = []
        if inject is not None or counted:
            traced = ["strace", "-D", "-qq", "-o", str(self.folder / "calls"), "-e", f"trace={CALLS}"]
        if inject is not None:
            traced += ["-e", f"inject={inject}"]
        words = [sys.executable, "-m", "pipelines", "stream", "--config", "config.yaml"]
        with (self.folder / "stream.log").open("wb") as log:
            process = subprocess.Popen(traced + words, cwd=self.folder, stdout=log, stderr=log)
        try:
            self._until(lambda: process.poll() is not None or (self._serves() and self.finished()))
            process.terminate()
            self._until(lambda: process.poll() is not None)
        finally:
            process.kill()
            process.wait()
        return process.returncode

    def calls(self) -> list[str]:
        """The names of the calls that the last counted run made, in their order."""
        lines = (self.folder / "calls").read_text().splitlines()
        return [name for name in (line.partition("(")[0] for line in lines) if name in CALLS.split(",")]

    def _serves(self) -> bool:
        """Whether its start is over: from then on SIGTERM ends it in order."""
        return b"itbwatch: watching" in (self.folder / "stream.log").read_bytes()

    def finished(self) -> bool:
        """Whether all was read, and all that was to be sent was sent."""
        store = self.folder / "store.sqlite"
        try:
            with closing(sqlite3.connect(f"file:{store}?mode=ro", uri=True)) as connection:
                waiting = connection.execute("select count(*) from outbox where not published").fetchone()
                read = connection.execute("select next_offset from positions where topic = 'events.ndjson'").fetchone()
        except sqlite3.OperationalError:
            return False  # it is not made yet
        return waiting == (0,) and read == ((self.folder / "events.ndjson").stat().st_size,)

    def left(self) -> dict[str, Any]:
        """Every table but for when, and what the numbers of rows are; the audit chain is verified besides."""
        found: dict[str, Any] = {}
        with closing(sqlite3.connect(f"file:{self.folder / 'store.sqlite'}?mode=ro", uri=True)) as connection:
            found["integrity"] = connection.execute("pragma integrity_check").fetchall()
            tables = [name for (name,) in connection.execute("select name from sqlite_master where type = 'table'")]
            for table in tables:
                columns = [row[1] for row in connection.execute(f"pragma table_info({table})")]
                wanted = [name for name in columns if name not in TIMES | {"id"}]
                if table == "audit":
                    wanted = ["number", "event", "detail"]
                elif table == "outbox":
                    wanted.remove("timestamp")  # that of a dead letter without one is our clock's
                quoted = ", ".join(f'"{name}"' for name in wanted)
                rows = connection.execute(f"select {quoted} from {table}")
                if table == "patients":  # a head is a map, and the order of its keys says nothing
                    rows = [(*row[:-1], msgspec.msgpack.decode(row[-1])) for row in rows]
                    found[table] = sorted(rows, key=itemgetter(0))
                else:
                    found[table] = sorted(map(repr, rows))
        with closing(Store(StoreSettings(path=str(self.folder / "store.sqlite")), read_only=True)) as store:
            found["audit chain"] = first_broken(store.audit())
        return found

    def difference(self, plan: Plan) -> Difference:
        """What is stored and sent beside what is due."""
        due = expected(plan, self._course.events, self._course.end)
        with closing(Store(StoreSettings(path=str(self.folder / "store.sqlite")), read_only=True)) as store:
            found = store.alerts(1_000_000)
        letters = Counter(_lines(self.folder / "dead.ndjson"))
        lost = max(0, self._course.refused - len(letters))
        return stored(due, found) + published(due, _lines(self.folder / "alerts.ndjson")) + Difference(lost=lost)

    def _until(self, holds: Callable[[], bool]) -> None:
        deadline = time.monotonic() + HANGS_AFTER_S
        while not holds():
            if time.monotonic() > deadline:
                raise Hangs(f"nothing for {HANGS_AFTER_S:.0f} s")
            time.sleep(0.02)


def _lines(path: Path) -> Sequence[bytes]:
    return path.read_bytes().splitlines() if path.exists() else []
