"""What the campaign has found so far: one row a part, kept in a file, so that a campaign in parts goes on counting."""

from __future__ import annotations

import json
import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from statistics import quantiles

from rich.console import Console
from rich.table import Table

from tests.torture.oracle import Difference

TOLD = 20  # seeds of failures that are kept by name


@dataclass
class Row:
    """One part of the campaign. ``times`` counts what was done to the service, ``by_kind`` says what that was, and
    ``took_s`` how long it needed each time;
    ``resume`` is the seed, or the place, at which the next run goes on; ``odd`` names whatever else was not as promised.
    """

    part: str
    promise: str
    injected: str
    times: int = 0
    checked: int = 0
    lost: int = 0
    doubled: int = 0
    wrong: int = 0
    took_s: list[float] = field(default_factory=list)
    resume: int = 0
    seconds: float = 0.0
    by_kind: Counter[str] = field(default_factory=Counter)
    odd: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        return not (self.lost or self.doubled or self.wrong or self.odd)

    def add(self, difference: Difference, *odd: str) -> None:
        self.lost += difference.lost
        self.doubled += difference.doubled
        self.wrong += difference.wrong
        self.odd = [*self.odd, *odd][:TOLD]

    def took(self, seconds: float) -> None:
        """How long the service needed until all was well again."""
        self.took_s.append(round(seconds, 2))

    @property
    def worst_s(self) -> float | None:
        return max(self.took_s, default=None)


class Results:
    """The rows in a JSON file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.rows: dict[str, Row] = {}
        if path.exists():
            for one in json.loads(path.read_bytes()):
                self.rows[one["part"]] = Row(**one | {"by_kind": Counter(one["by_kind"])})

    def row(self, part: str, promise: str, injected: str) -> Row:
        return self.rows.setdefault(part, Row(part, promise, injected))

    def save(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        beside = self._path.with_suffix(".new")
        beside.write_text(json.dumps([vars(row) for row in self.rows.values()], indent=1) + "\n")
        beside.replace(self._path)

    def print(self) -> None:
        """The table, and what was not as promised."""
        table = Table("part", "promise", "injected", "times", "records", "lost", "doubled", "wrong", "worst s", "odd")
        for row in self.rows.values():
            worst = "" if row.worst_s is None else f"{row.worst_s:.1f}"
            counts = (row.times, row.checked, row.lost, row.doubled, row.wrong)
            table.add_row(row.part, row.promise, row.injected, *(f"{n:,}" for n in counts), worst, str(len(row.odd)))
        console = Console(width=None if os.isatty(1) else 160)
        console.print(table)
        for row in self.rows.values():
            if len(row.took_s) > 1:
                cuts = quantiles(row.took_s, n=100, method="inclusive")
                console.print(f"{row.part}: p50 {cuts[49]:.1f} s, p99 {cuts[98]:.1f} s", highlight=False)
            for kind, times in sorted(row.by_kind.items()):
                console.print(f"{row.part}: {times:,} x {kind}", highlight=False, markup=False)
            for text in row.odd:
                console.print(f"{row.part}: {text}", style="red", highlight=False, markup=False)
