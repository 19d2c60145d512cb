"""The first of two readings of a data set: who has a row for which all of theirs are run (``pipelines.sieve``)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl

from detector.events import PumpKind
from pipelines.collecting.collector import Collector
from pipelines.collecting.scans import Table, Telling
from pipelines.sieve import ORAL, Sieve


class Finder(Collector):
    """Shows a sieve what a data-set format hands over, and keeps nothing."""

    def __init__(self, name: str, sieve: Sieve, *, pumps_count: bool) -> None:
        """``pumps_count``: pumps that the data set knows are not overridden."""
        super().__init__(name)
        self._sieve = sieve
        self._pumps_count = pumps_count
        self._telling: frozenset[str] | None = None

    def asked(self, items: pl.DataFrame) -> pl.DataFrame:
        self._telling = frozenset(
            item for item, code in items.select("item", "code").iter_rows() if self._sieve.tells(code)
        )
        return items

    def rows(self, table: Table, items: tuple[str, frozenset[str]], topic: str = "observations", patient: str | None = None, times: tuple[str, str] | None = None) -> Iterator[tuple[Path, pl.DataFrame]]:  # fmt: skip  # noqa: ARG002 - everybody's rows are looked at
        telling, self._telling = self._telling, None
        if telling is None or times is None:
            return super().rows(table, items, topic)
        return table.batches(items, told=self.told, telling=Telling(telling, *times, self._sieve.future_limit))

    def admit(self, path: Path, stays: pl.DataFrame) -> None:
        """Who has a stay whose end is not known is run: how long it lasted, only its observations say."""
        super().admit(path, stays)
        self._sieve.patients.update(self.stays.filter(pl.col("discharged_at").is_null())["patient_id"])

    def observe(self, path: Path, table: pl.DataFrame) -> None:  # noqa: ARG002 - nothing is kept
        known = (
            pl.coalesce("available_at", "effective_at") if "available_at" in table.columns else pl.col("effective_at")
        )
        self._sieve.look(table.select("patient_id", "code", "unit", "value", "effective_at", available_at=known))

    def treat(self, path: Path, table: pl.DataFrame) -> None:  # noqa: ARG002 - nothing is kept
        oral = table.filter((pl.col("kind") == ORAL) & pl.col("patient_id").is_not_null())
        self._sieve.patients.update(oral["patient_id"])

    def pump(self, path: Path, row: int, patient: str | None, at: int | None, said: PumpKind = "implanted", known: int | None = None) -> None:  # fmt: skip  # noqa: ARG002 - nothing is kept
        if self._pumps_count and patient:
            self._sieve.patients.add(patient)
