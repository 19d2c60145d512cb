"""`make bench`: one table of what was reached beside what was aimed at.

    .venv/bin/python -m benchmarks.bench [PART...] [--rounds 5] [--peers PYTHON] [--out build/bench.json]

Parts: throughput, latency, history, capacity (all of them if none is named; about half an hour). Everything is synthetic. Run
it on a machine that does nothing else: what is printed with a load of another process is no figure.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks import capacity, history, latency, throughput
from benchmarks.table import Line, machine, shown, write


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help="throughput, latency, history, capacity; default: all")
    parser.add_argument("--rounds", type=int, default=5, help="interleaved runs of each; the median counts (default 5)")
    parser.add_argument("--peers", type=Path, default=Path(".cache/peers/bin/python"), help="Python that has the peers")
    parser.add_argument("--seconds", type=float, default=60, help="of each rate of the latencies (default 60)")
    parser.add_argument("--patients", type=int, default=5_000, help="of the backlog (default 5000)")
    parser.add_argument("--minutes", type=int, default=10, help="of the backlog (default 10)")
    parser.add_argument("--out", type=Path, default=Path("build/bench.json"))
    asked = parser.parse_args()
    parts: dict[str, Callable[[], list[Line]]] = {
        "throughput": lambda: throughput.lines(asked.rounds, asked.peers, asked.patients, asked.minutes),
        "latency": lambda: latency.lines(asked.seconds),
        "history": lambda: history.lines(asked.rounds, asked.peers),
        "capacity": capacity.lines,
    }
    unknown = [name for name in asked.parts if name not in parts]
    if unknown:
        parser.error(f"part {unknown[0]!r}; expected one of {', '.join(parts)}")
    if not asked.peers.exists():
        print(
            f"benchmarks: no peers at {asked.peers}: ours are measured alone; `make bench` installs them",
            file=sys.stderr,
        )
    where = machine()
    print(", ".join(f"{name} {value}" for name, value in where.items()))
    lines: list[Line] = []
    for name in asked.parts or parts:
        print(f"{name} ...", flush=True)
        lines += parts[name]()
        write(asked.out, lines, where)
    print(shown(lines))
    print(f"written: {asked.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
