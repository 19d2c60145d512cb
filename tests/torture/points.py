"""Every place at which a process can die, and at which a disk can fail: before each system call of a run that changes what
is kept or sent. After each, the service is started again and brought to the end; what it leaves is compared, table by
table and byte by byte, with a run that nothing happened to.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from pipelines.plan_files import load_plan
from tests.torture.courses import course
from tests.torture.file_run import SETTINGS, FileRun, Hangs, may_trace
from tests.torture.oracle import Difference
from tests.torture.results import Results, Row

COURSE = 2
"""A course with alerts, a dead letter and a record that comes twice (``test_points`` looks)."""
STARTS = 5  # a service that ended by itself is started again so often, as a supervisor would
DISK = ("error=ENOSPC", "error=EIO")
APART = 37  # calls from one failing one to the next
ENDED = 74
"""How a service ends that cannot write."""


def kills(results: Results, chosen: argparse.Namespace) -> tuple[Row, int, Iterator[None]]:
    """The next kill points; all of them once, however often it is asked for."""
    row = results.row("points", "state, alerts, outbox and position agree", "SIGKILL before a write-class system call")
    numbers = range(row.resume + 1, row.resume + 1 + chosen.points)
    return row, len(numbers), _go(row, numbers, _kill)


def disk(results: Results, chosen: argparse.Namespace) -> tuple[Row, int, Iterator[None]]:
    """Calls that fail, spread evenly over a run: one, or all from one on as on a disk that stays full."""
    row = results.row("disk", "0 lost, 0 corrupt", "ENOSPC and EIO from a write-class system call on")
    numbers = range(row.resume + 1, row.resume + 1 + chosen.disk)
    return row, len(numbers), _go(row, numbers, _fail)


def _kill(number: int, calls: Sequence[str]) -> str | None:
    return f"{_place(number - 1, calls)}:signal=KILL" if number <= len(calls) else None


def _fail(number: int, calls: Sequence[str]) -> str:
    place = _place(number * APART % len(calls), calls)
    return f"{place}{('', '+')[number // 2 % 2]}:{DISK[number % 2]}"


def _place(index: int, calls: Sequence[str]) -> str:
    """A call as strace finds it again: the so-manieth of its name."""
    return f"{calls[index]}:when={calls[: index + 1].count(calls[index])}"


def _go(row: Row, numbers: range, fault: Callable[[int, Sequence[str]], str | None]) -> Iterator[None]:
    """Do what ``fault`` says to a run for each number; None = there are no more places."""
    if not may_trace():
        raise SystemExit("strace is not installed or may not trace; expected Debian's strace and the right to ptrace")
    plan = load_plan(SETTINGS)
    with tempfile.TemporaryDirectory(prefix="torture-") as name:
        folder = Path(name)
        model = FileRun(folder / "model", course(COURSE))
        status = model.run(counted=True)
        due, calls = model.left(), model.calls()
        row.by_kind["calls of a run"] = len(calls)
        row.add(model.difference(plan), *([] if status == 0 else [f"undisturbed: ended with {status}"]))
        for number in numbers:
            if (inject := fault(number, calls)) is None:
                return
            run = FileRun(folder / f"{number}", course(COURSE))
            try:
                row.by_kind[f"{inject.partition(':')[0]}: {_disturb(run, inject, row)}"] += 1
            except Hangs as error:
                row.add(Difference(), f"{inject}: {error}")
            else:
                row.add(run.difference(plan), *(f"{inject}: {text}" for text in unlike(due, run.left())))
            row.times, row.checked, row.resume = row.times + 1, row.checked + len(due["alerts"]), number
            shutil.rmtree(run.folder)
            yield


def _disturb(run: FileRun, inject: str, row: Row) -> str:
    """Run it with the fault, and again without until it is at its end. Returns how it ended the first time."""
    first = run.run(inject)
    if first not in (0, -signal.SIGKILL, ENDED):
        row.add(Difference(), f"{inject}: ended with {first}")
    began = time.monotonic()
    for _ in range(STARTS):
        if run.run() == 0 and run.finished():
            row.took(time.monotonic() - began)
            return f"ended with {first}"
    row.add(Difference(), f"{inject}: not at its end after {STARTS} starts")
    return f"ended with {first}"


def unlike(due: dict[str, object], left: dict[str, object]) -> list[str]:
    return [f"{name} differs" for name in sorted(due.keys() | left.keys()) if due.get(name) != left.get(name)]
