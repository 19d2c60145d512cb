"""The campaign: `make torture`, or `python -m tests.torture --only schedules --schedules 1000`.

Every part goes on where the last run of it ended (the file of --results), and the table counts all of its runs. The exit
status is 1 when a promise was broken in any of them. Ctrl-C ends the present part; what it has found is kept.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from tests.torture import points, scenes, schedules
from tests.torture.results import Results, Row
from tests.torture.rounds import part

Part = Callable[[Results, argparse.Namespace], tuple[Row, int, Iterator[None]]]
"""The row of a part, how often it goes on, and the going on: one step a time, each counted in the row."""

PARTS: dict[str, Part] = {
    "schedules": schedules.part,
    "points": points.kills,
    "disk": points.disk,
    "kills": part(scenes.kills, "kills"),
    "rebalances": part(scenes.rebalances, "rebalances"),
    "broker": part(scenes.broker, "broker"),
    "database": part(scenes.database, "database"),
    "clock": part(scenes.clock, "clock"),
}


def arguments(words: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="make torture", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--only", default=",".join(PARTS), help=f"some of {','.join(PARTS)}")
    parser.add_argument("--results", type=Path, default=Path("out/torture.json"))
    parser.add_argument("--minutes", type=float, default=float("inf"), help="no part begins another step after these")
    parser.add_argument("--schedules", type=int, default=1_000, help="simulated schedules in this run")
    parser.add_argument("--points", type=int, default=10, help="kill points in this run; there are some hundreds")
    parser.add_argument("--disk", type=int, default=4, help="failing disks in this run")
    parser.add_argument("--kills", type=int, default=10, help="killed workers in this run")
    parser.add_argument(
        "--rebalances", type=int, default=10, help="workers that join, leave and stand still in this run"
    )
    parser.add_argument("--broker", type=int, default=5, help="faults of broker and network in this run")
    parser.add_argument("--database", type=int, default=10, help="faults of PostgreSQL in this run")
    parser.add_argument("--clock", type=int, default=5, help="steps of the host clock in this run")
    parser.add_argument("--store", choices=["sqlite", "postgresql"], default="sqlite")
    chosen = parser.parse_args(words)
    chosen.only = chosen.only.split(",")
    if unknown := set(chosen.only) - PARTS.keys():
        parser.error(f"--only {','.join(sorted(unknown))}: expected some of {','.join(PARTS)}")
    return chosen


def main(words: list[str] | None = None) -> int:
    chosen = arguments(words)
    results = Results(chosen.results)
    until = time.monotonic() + chosen.minutes * 60
    try:
        for name in chosen.only:
            go(*PARTS[name](results, chosen), results, until)
    except KeyboardInterrupt:
        print("stopped; what was found is kept", file=sys.stderr)
    results.print()
    return 0 if all(row.good for row in results.rows.values()) else 1


def go(row: Row, total: int, steps: Iterator[None], results: Results, until: float) -> None:
    """Take the steps of a part with a bar on a terminal, and keep what they found at least once a second."""
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    saved = began = time.monotonic()
    with Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty()) as progress:
        bar = progress.add_task(row.part, total=total)
        try:
            for _ in steps:
                progress.advance(bar)
                if (now := time.monotonic()) - saved > 1:
                    row.seconds, began, saved = row.seconds + now - began, now, now
                    results.save()
                if now > until:
                    return
        finally:
            steps.close()  # type: ignore[attr-defined]  # it is a generator: brokers and workers go with it
            row.seconds = round(row.seconds + time.monotonic() - began, 1)
            results.save()


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # brokers and workers must not outlive us
    sys.exit(main())
