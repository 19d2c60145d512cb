"""How far long work is, on the terminal of whoever waits for it; in a pipe nothing is said."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text


class _Rate(ProgressColumn):
    def __init__(self, unit: str) -> None:
        super().__init__()
        self._unit = unit

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed or 0:,.0f} {self._unit}")


@contextmanager
def bar(total: int, what: str = "replay", unit: str = "rows/s") -> Iterator[Callable[[int], object]]:
    """A bar with rate and remaining time; it is told of each more that is done."""
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), _Rate(unit), TimeRemainingColumn())
    with _shown(*columns) as shown:
        task = shown.add_task(what, total=total)

        def told(more: int) -> None:
            first = not shown.tasks[task].completed
            shown.advance(task, more)
            if first:  # work of less than the tenth of a second between two pictures shows that it goes on, too
                shown.refresh()

        yield told


@contextmanager
def reading() -> Iterator[Callable[[str, int], object]]:
    """Which table is read, and how many rows of it: how many there will be, a packed file does not say."""
    columns = (
        SpinnerColumn(), TextColumn("reading {task.description}"), TextColumn("{task.completed:,.0f} rows"),
        _Rate("rows/s"), TimeElapsedColumn(),
    )  # fmt: skip
    with _shown(*columns) as shown:
        task, named = shown.add_task("", total=None, visible=False), ""

        def told(table: str, rows: int) -> None:
            nonlocal named
            if table != named:
                named = table
                shown.reset(task, description=table, visible=True)
            shown.update(task, completed=rows)

        yield told


def _shown(*columns: ProgressColumn) -> Progress:
    return Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty(), transient=True)
