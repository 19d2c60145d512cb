"""What a data-set format finds, on its way to a data set: rows are judged, put into their stay, and kept.

Every row that a format looked at leaves here as an observation or with a reason and a count. Rows are held in memory
until there are too many; then they are spilled to disk (``pipelines.collecting.spill``) and the data set is read from there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from detector.clock import DAY
from detector.events import EARLIEST, LATEST, Encounter, Position, Pump, PumpKind
from pipelines.collecting.scans import Only, Table
from pipelines.collecting.spill import CONTEXT_COLUMNS, Derive, Spill, SpilledDataset, numbered_context, placed_context
from pipelines.dataset import OBSERVATION_COLUMNS, RANK, SEXES, Dataset, InputRefused, Placed
from pipelines.formats.json_records import LONGEST_IDENTITY

ROWS_IN_MEMORY = 200_000
"""Observations held before they are written to disk; about 200 bytes each."""

BEFORE_ADMISSION = DAY
"""A result of the day before an admission belongs to the stay: the newest laboratory values are from then."""

CONTEXT_BEFORE = 7 * DAY
"""The longest that a rule looks back on a treatment (CTX-01: oral baclofen stopped within 7 days)."""

COMPARATOR = r"(?i)^\s*(?:[<>≤≥]|(?:less|greater) th[ae]n)"

STAY_COLUMNS: dict[str, type[pl.DataType]] = {
    "stay_id": pl.String,
    "patient_id": pl.String,
    "admitted_at": pl.Int64,
    "discharged_at": pl.Int64,
    "unit": pl.String,
    "age_years": pl.Float64,
    "sex": pl.String,
    "weight_kg": pl.Float64,
    "row": pl.Int64,
}
"""What a format makes of its stays: times in ms UTC; ``discharged_at`` None = not known."""


def as_it_is(table: pl.DataFrame) -> pl.DataFrame:
    """Nothing more is made of a patient's observations."""
    return table


Told = Callable[[str, int], object]
"""(the table that is read, how many of its rows have been)."""


def silent(table: str, rows: int) -> None:
    """Nobody wants to know how far it is."""


class Collector:
    """Takes the rows of one data set. ``rejected`` counts what was left out, by (topic, reason)."""

    def __init__(self, name: str, derive: Derive = as_it_is) -> None:
        """``name``: what the position of an observation calls the data set; ``derive``: see ``pipelines.collecting.spill``."""
        self.rejected: Counter[tuple[str, str]] = Counter()
        self.stays = pl.DataFrame(schema=STAY_COLUMNS)
        self.with_stays = False
        self.remarks: list[str] = []
        self.told: Told = silent
        self.only: frozenset[str] | None = None
        """The patients whose rows are taken; None = everybody's. The rows of the others are counted in ``skipped``."""
        self.skipped = 0
        self._patients: frozenset[str] = frozenset()
        self._derive: Derive = lambda table: in_content_order(derive(table))
        self._files: list[str] = [name]
        self.others: list[Placed] = []
        self._rows: Counter[str] = Counter()
        self._first: dict[str, int] = {}
        self._observed = Kept(OBSERVATION_COLUMNS)
        self._context = Kept(CONTEXT_COLUMNS)

    def asked(self, items: pl.DataFrame) -> pl.DataFrame:
        """Those items of a table (as ``ItemMap.frame`` gives them) whose rows are wanted at all."""
        return items

    def rows(self, table: Table, items: tuple[str, frozenset[str]], topic: str = "observations", patient: str | None = None, times: tuple[str, str] | None = None) -> Iterator[tuple[Path, pl.DataFrame]]:  # fmt: skip  # noqa: ARG002 - for pipelines.collecting.finder
        """The rows of a table with one of these items; how many had another one is counted.

        ``patient`` names the column of the patient's id, where the table has one: rows that are not wanted are then
        not even read whole. ``times`` are those of when a row was measured and when it was known.
        """
        seen: Counter[str] = Counter()
        only = None if self.only is None or patient is None else Only(patient, self.only)
        yield from table.batches(items, seen, self.told, only)
        if only is not None:
            self.skipped += only.skipped
        self.saw(table.name, seen)
        self.rejected[topic, "other_item"] += sum(count for item, count in seen.items() if item not in items[1])
        self._split(table, topic)

    def every_row(self, table: Table, topic: str) -> Iterator[tuple[Path, pl.DataFrame]]:
        """The rows of a table that has no items; those that could not be split into cells are counted."""
        yield from table.batches(told=self.told)
        self._split(table, topic)

    def whole(self, table: Table, topic: str = "encounters") -> pl.DataFrame:
        """All rows of a small table at once; those that could not be split into cells are counted."""
        found = table.whole()
        self._split(table, topic)
        return found

    def _split(self, table: Table, topic: str) -> None:
        for fault, count in table.faults.items():
            self.rejected[topic, fault] += count

    def saw(self, table: str, items: Counter[str]) -> None:
        """Hear of every item of a table, with its number of rows; for those who want to know (``pipelines.collecting.survey``)."""

    def count(self, reason: str, rows: int, topic: str = "observations") -> None:
        """Count rows that the format left out itself."""
        if rows:
            self.rejected[topic, reason] += rows

    def file(self, path: Path) -> int:
        """The number of a file among those of the data set."""
        if path.name not in self._files:
            self._files.append(path.name)
        return self._files.index(path.name)

    def admit(self, path: Path, stays: pl.DataFrame) -> None:
        """Take the stays, in ``STAY_COLUMNS``, before any row is put into one of them.

        Raises:
            InputRefused: there are rows, and none of them is a stay.
        """
        stays = stays.select(*STAY_COLUMNS)
        reason = (
            pl.when(_blank("stay_id") | _blank("patient_id")).then(pl.lit("missing_key"))
            .when(_bad_identity("patient_id")).then(pl.lit("bad_identity"))
            .when(~_is_time("admitted_at")).then(pl.lit("bad_time"))
            .when(pl.col("discharged_at").is_not_null() & ~_is_time("discharged_at")).then(pl.lit("bad_time"))
            .when(pl.col("discharged_at") < pl.col("admitted_at")).then(pl.lit("bad_time"))
        )  # fmt: skip
        good = self._refuse("encounters", stays.with_columns(reason=reason)).drop("reason")
        if len(stays) and not len(good):
            reasons = ", ".join(f"{r} {n}" for (topic, r), n in self.rejected.items() if topic == "encounters")
            raise InputRefused(
                f"{path}: none of its {len(stays)} stays can be used ({reasons}); expected some that can"
            )
        self.stays = good
        self._patients = frozenset(good["patient_id"])
        self.with_stays = True
        file = self.file(path)
        for row in good.iter_rows(named=True):
            position = Position(path.name, 0, row["row"])
            ids: dict[str, Any] = {"patient_id": row["patient_id"], "stay_id": row["stay_id"], "position": position}
            start, end = row["admitted_at"], row["discharged_at"]
            admitted = Encounter(
                **ids, event="admitted", at=start, available_at=start, unit=row["unit"], age_years=row["age_years"],
                sex=SEXES.get(row["sex"] or "", "unknown"), weight_kg=row["weight_kg"],
            )  # fmt: skip
            self.others.append(((start, RANK[Encounter], file, row["row"]), admitted))
            if end is not None:
                left = Encounter(**ids, event="discharged", at=end, available_at=end)
                self.others.append(((end, RANK[Encounter], file, row["row"]), left))

    def observe(self, path: Path, table: pl.DataFrame) -> None:
        """Take rows with at least patient_id, code, value, effective_at and row.

        ``value`` may come with ``value_text``, the result as written. ``stay_id`` None = the stay in which it was
        taken. ``reason`` not None = why the format itself leaves the row out.
        """
        table = self._wanted(table)
        table = _with(table, {**OBSERVATION_COLUMNS, "reason": pl.String}).with_columns(
            pl.col("available_at").fill_null(pl.col("effective_at")), pl.col("status").fill_null("final")
        )
        compared = pl.col("value_text").str.contains(COMPARATOR).fill_null(False)
        table = table.with_columns(value=pl.when(~compared).then("value"))
        table = table.with_columns(value_text=pl.when(pl.col("value").is_null()).then("value_text"))
        reason = (
            pl.when(pl.col("reason").is_not_null()).then("reason")
            .when(_blank("patient_id") | _blank("code")).then(pl.lit("missing_key"))
            .when(_bad_identity("patient_id")).then(pl.lit("bad_identity"))
            .when(~_is_time("effective_at") | ~_is_time("available_at")).then(pl.lit("bad_time"))
            .when(pl.col("value").is_nan() | pl.col("value").is_infinite()).then(pl.lit("not_finite"))
            .when(pl.col("value").is_null() & _blank("value_text")).then(pl.lit("no_value"))
        )  # fmt: skip
        table = self._refuse("observations", table.with_columns(reason=reason)).drop("reason")
        if self.with_stays:
            table = self._refuse("observations", self._into_stays(table, BEFORE_ADMISSION))
        if not len(table):
            return
        high = pl.when(pl.col("reference_high").is_finite()).then("reference_high")
        table = table.with_columns(high.alias("reference_high"), file=pl.lit(self.file(path), pl.UInt32))
        for patient, rows, first in (
            table.group_by("patient_id").agg(pl.len(), pl.col("available_at").min()).iter_rows()
        ):
            self._rows[patient] += rows
            self._first[patient] = min(first, self._first.get(patient, first))
        self.keep(table)

    def keep(self, table: pl.DataFrame) -> None:
        """Keep observations that can be events, in the columns of a data set."""
        self._observed.add(table)

    def treat(self, path: Path, table: pl.DataFrame) -> None:
        """Take rows with at least patient_id, kind, event, at and row; those of patients without a stay are left out."""
        table = self._wanted(table)
        table = _with(table, CONTEXT_COLUMNS).with_columns(pl.col("available_at").fill_null(pl.col("at")))
        reason = (
            pl.when(_blank("patient_id")).then(pl.lit("missing_key"))
            .when(~_is_time("at") | ~_is_time("available_at")).then(pl.lit("bad_time"))
        )  # fmt: skip
        table = self._refuse("context", table.with_columns(reason=reason)).drop("reason")
        if self.with_stays:
            placed = self._into_stays(table.with_columns(effective_at="at"), CONTEXT_BEFORE).drop("effective_at")
            table = self._refuse("context", placed)
        self._context.add(table.with_columns(file=pl.lit(self.file(path), pl.UInt32)))

    def pump(self, path: Path, row: int, patient: str | None, at: int | None, said: PumpKind = "implanted", known: int | None = None) -> None:  # fmt: skip
        """Take what is ``said`` of the pump of a patient with a stay; ``known`` None = the record had it ``at`` once."""
        known = at if known is None else known
        if not patient or at is None or known is None or not (EARLIEST <= at < LATEST and EARLIEST <= known < LATEST):
            self.rejected["pumps", "bad_time" if patient else "missing_key"] += 1
        elif self.with_stays and patient not in self._patients:
            self.rejected["pumps", "outside_stay"] += 1
        else:
            position = Position(path.name, 0, row)
            event = Pump(patient_id=patient, event=said, at=at, available_at=known, position=position)
            self.others.append(((known, RANK[Pump], self.file(path), row), event))

    def missing(self, tables: Sequence[str]) -> None:
        """Remark tables that are not there and need not be."""
        self.remarks += [f"table {name} is not there: nothing of it is read" for name in tables]

    def dataset(self) -> Dataset:
        """All that was taken."""
        rejected = +self.rejected
        files = tuple(self._files)
        if self._observed.spill is None and self._context.spill is None:
            context = placed_context(numbered_context(self._context.table()), files)
            observations = self._derive(self._observed.table())
            return Dataset(files, observations, [*self.others, *context], rejected, self.remarks)
        spills = (self._observed.close(), self._context.close())
        return SpilledDataset(
            files, *spills, self.others, rejected, self._rows, self._first, self._derive, self.remarks
        )

    def _wanted(self, table: pl.DataFrame) -> pl.DataFrame:
        """The rows of the patients that are taken, and those that name none."""
        if self.only is None:
            return table
        wanted = table.filter(pl.col("patient_id").is_in(list(self.only)) | pl.col("patient_id").is_null())
        self.skipped += len(table) - len(wanted)
        return wanted

    def _refuse(self, topic: str, table: pl.DataFrame) -> pl.DataFrame:
        """The rows without a ``reason``; the others are counted."""
        for reason, count in table["reason"].drop_nulls().value_counts().iter_rows():
            self.rejected[topic, reason] += count
        return table.filter(pl.col("reason").is_null())

    def _into_stays(self, table: pl.DataFrame, before: int) -> pl.DataFrame:
        """The rows with their stay: their own, else the newest one that had begun (less ``before``) and not ended.

        A row without any has the reason ``outside_stay``.
        """
        stays = self.stays.select("patient_id", "admitted_at", "discharged_at", found="stay_id")
        table = table.with_row_index("number")
        candidates = (
            table.select("number", "patient_id", "stay_id", "effective_at").join(stays, on="patient_id")
            .filter(
                pl.when(pl.col("stay_id").is_not_null()).then(pl.col("stay_id") == pl.col("found"))
                .otherwise(
                    (pl.col("effective_at") >= pl.col("admitted_at") - before)
                    & (pl.col("effective_at") <= pl.col("discharged_at").fill_null(LATEST))
                )
            )
            .sort("number", "admitted_at").group_by("number", maintain_order=True).agg(pl.col("found").last())
        )  # fmt: skip
        table = table.join(candidates, on="number", how="left", maintain_order="left")
        reason = pl.when(pl.col("found").is_null()).then(pl.lit("outside_stay"))
        return table.with_columns(reason=reason, stay_id=pl.col("found")).drop("number", "found")


class Kept:
    """Rows of one kind: in memory, until they are too many (``most``; None = ``ROWS_IN_MEMORY``)."""

    def __init__(self, columns: dict[str, type[pl.DataType]], most: int | None = None) -> None:
        self._columns = columns
        self._most = most
        self._tables = [pl.DataFrame(schema=columns)]
        self._held = 0
        self.spill: Spill | None = None

    def add(self, table: pl.DataFrame) -> None:
        self._tables.append(table.select(pl.col(name).cast(kind) for name, kind in self._columns.items()))
        self._held += len(table)
        if self._held >= (self._most or ROWS_IN_MEMORY):
            self.flush()

    def flush(self) -> None:
        self.spill = self.spill or Spill()
        self.spill.add(self.table())
        self._tables, self._held = self._tables[:1], 0

    def close(self) -> Spill:
        """Everything on disk."""
        if self._held or self.spill is None:
            self.flush()
        assert self.spill is not None
        return self.spill

    def table(self) -> pl.DataFrame:
        return pl.concat(self._tables)


def in_content_order(table: pl.DataFrame) -> pl.DataFrame:
    """Observations of whole patients, numbered anew: by time known, time taken, code, value.

    The tables of a data set were written out of a database in no order that means anything. Numbered by what they say,
    the results of one instant come in the same order from every copy of the set.
    """
    table = table.sort("patient_id", "available_at", "effective_at", "code", "value", "row", maintain_order=True)
    return table.with_columns(row=pl.int_range(pl.len(), dtype=pl.Int64).over("patient_id"), file=pl.lit(0, pl.UInt32))


def as_written(value: str, number: str | None = None) -> pl.Expr:
    """The number of a result: its own column where the data set has one, else the text where that is a number."""
    text = pl.col(value).str.strip_chars().cast(pl.Float64, strict=False)
    return text if number is None else pl.coalesce(number, text)


def joined(table: pl.DataFrame, items: pl.DataFrame, on: str) -> pl.DataFrame:
    """Rows with what the item map says of their item; delays and texts that are no measurement are applied."""
    table = table.join(items, left_on=on, right_on="item", how="inner", maintain_order="left")
    unit = pl.col("unit") if "unit" in table.columns else pl.lit(None, pl.String)
    available = pl.col("available_at") if "available_at" in table.columns else pl.lit(None, pl.Int64)
    no_measurement = pl.col("not_testable").list.contains(pl.col("value_text")).fill_null(False)
    return table.with_columns(
        value=pl.when(~no_measurement).then("value"),
        unit=pl.coalesce(unit, "item_unit"),
        site="item_site",
        available_at=available.fill_null(pl.col("effective_at") + pl.col("delay").fill_null(0)),
    )


def _with(table: pl.DataFrame, columns: dict[str, type[pl.DataType]]) -> pl.DataFrame:
    missing = [pl.lit(None, kind).alias(name) for name, kind in columns.items() if name not in table.columns]
    return table.with_columns(missing).select(*columns)


def _blank(column: str) -> pl.Expr:
    return pl.col(column).is_null() | (pl.col(column) == "")


def _bad_identity(column: str) -> pl.Expr:
    return (pl.col(column).str.len_chars() > LONGEST_IDENTITY) | pl.col(column).str.contains(r"\p{Cc}")


def _is_time(column: str) -> pl.Expr:
    return pl.col(column).is_between(EARLIEST, LATEST, closed="left").fill_null(False)
