"""One table of what was reached: ratios first, medians of interleaved rounds, the machine stated; on paper and as JSON."""

from __future__ import annotations

import json
import os
import platform
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Line:
    """``reached`` against ``aim``: at least that much, or ``at_most``. An aim of None is no promise, only a figure."""

    what: str
    reached: float
    unit: str
    aim: float | None = None
    at_most: bool = False
    note: str = ""

    @property
    def met(self) -> bool | None:
        """None = nothing was aimed at."""
        if self.aim is None:
            return None
        return self.reached <= self.aim if self.at_most else self.reached >= self.aim


def interleaved(rounds: int, measures: Mapping[str, Callable[[], float]]) -> dict[str, float]:
    """The median of each, measured in turn: what disturbs one round disturbs all."""
    taken: dict[str, list[float]] = {name: [] for name in measures}
    for _ in range(rounds):
        for name, measure in measures.items():
            taken[name].append(measure())
    return {name: statistics.median(values) for name, values in taken.items()}


def machine() -> dict[str, Any]:
    """Where it ran; without a name of the machine."""
    memory_kb = int(Path("/proc/meminfo").read_text().split()[1])
    model = [
        one.split(":", 1)[1].strip() for one in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in one
    ]
    return {
        "cores": os.cpu_count(), "processor": model[0] if model else "unknown", "memory_gib": round(memory_kb / 2**20, 1),
        "python": platform.python_version(), "load_1m": round(os.getloadavg()[0], 1),
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
    }  # fmt: skip


def shown(lines: Sequence[Line]) -> str:
    """The table as text."""
    width = max(len(line.what) for line in lines)
    rows = [f"{'what':{width}}  {'reached':>12}  {'aimed at':>12}  unit"]
    for line in lines:
        sign = "<=" if line.at_most else ">="
        aim = "" if line.aim is None else f"{sign} {line.aim:,.4g}"
        said = {True: "met", False: "SHORT", None: ""}[line.met]
        rows.append(
            f"{line.what:{width}}  {line.reached:>12,.4g}  {aim:>12}  {line.unit:<14} {said:<5} {line.note}".rstrip()
        )
    return "\n".join(rows)


def write(path: Path, lines: Sequence[Line], where: Mapping[str, Any]) -> None:
    """The same as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    said = {"machine": where, "lines": [asdict(line) | {"met": line.met} for line in lines]}
    path.write_text(json.dumps(said, indent=1) + "\n")
