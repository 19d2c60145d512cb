"""What was really going on in each stay of a cohort, and the same as arrays, one element a stay, for counting."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from detector.clock import DAY, HOUR
from pipelines.dataset import InputRefused

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

TRUTH: dict[str, Any] = {
    "stay_id": pl.String, "patient_id": pl.String, "twin_of": pl.String, "kind": pl.String, "severity": pl.String,
    "data_set": pl.String, "generator": pl.String, "with_tone": pl.Boolean, "first_at": pl.Int64, "last_at": pl.Int64,
    "interrupted_at": pl.Int64, "first_visible_at": pl.Int64, "organ_failure_at": pl.Int64, "restored_at": pl.Int64,
}  # fmt: skip
"""Columns of a truth table; times in ms UTC, null = never (or, of a stay without a course, nothing to say)."""

BACKGROUND = "background"
SEVERITIES = ("full_blown", "moderate", "mild")
"""Of withdrawal courses, worst first. A stay with a severity is a course to be found; one without is not."""

BEFORE_VISIBLE = HOUR
"""A warning this long before the first visible sign still belongs to the course: the generator dates the sign on the
course without noise, and readings carry noise."""

AFTER_RESTORED = 12 * HOUR
"""Signs outlast the restored infusion; a warning later than this after it finds nothing that could still be prevented."""

NO_TIME = np.iinfo(np.int64).min


@dataclass(frozen=True)
class Stays:
    """The stays of a truth table in its order. ``twin`` is the row of the same stay without the course, -1 = none;
    ``person`` numbers the people (an injected stay is its background's person). A course can be found from
    ``opens`` to ``closes``; ``NO_TIME`` = never.
    """

    truth: pl.DataFrame
    cells: dict[str, NDArray[np.object_]]
    """The columns of the truth as they are, by name: groups are asked for thousands of times."""
    rows: dict[str, int]
    twin: Ints
    person: Ints
    days: Floats
    opens: Ints
    closes: Ints
    visible: Ints
    organ_failure: Ints
    course: Mask
    background: Mask

    def __len__(self) -> int:
        return len(self.truth)

    @property
    def look_alike(self) -> Mask:
        """Something happened, and it was no withdrawal."""
        return ~self.course & ~self.background

    def where(self, **same: object) -> Mask:
        """Stays whose columns have these values."""
        mask = np.ones(len(self), dtype=bool)
        for column, value in same.items():
            mask &= self.cells[column] == value  # of objects: compared one by one, None equal to None
        return mask


def read_truth(path: Path) -> pl.DataFrame:
    """A truth table in the columns of ``TRUTH``.

    Raises:
        InputRefused: no such table, a column is missing, or a stay is named twice.
        OSError: it cannot be read.
    """
    try:
        raw = pl.read_parquet(path)
    except pl.exceptions.PolarsError as error:
        raise InputRefused(f"{path}: no readable Parquet file ({str(error).splitlines()[0][:120]})") from error
    for name in TRUTH:
        if name not in raw.columns:
            raise InputRefused(f"{path}: no column {name!r}; expected {', '.join(TRUTH)}")
    raw = raw.with_columns(
        pl.col(name).dt.timestamp("ms") for name, kind in raw.schema.items() if isinstance(kind, pl.Datetime)
    )
    try:
        table = raw.select(pl.col(name).cast(kind) for name, kind in TRUTH.items())
    except pl.exceptions.PolarsError as error:
        raise InputRefused(f"{path}: {str(error).splitlines()[0][:120]}; expected times in ms UTC and texts") from error
    return checked(table, str(path))


def checked(truth: pl.DataFrame, where: str) -> pl.DataFrame:
    """The table itself.

    Raises:
        InputRefused: a stay is named twice or has no span, a severity is unknown, a course has no first visible sign.
    """
    twice = truth.filter(pl.col("stay_id").is_duplicated())
    strange = truth.filter(pl.col("severity").is_not_null() & ~pl.col("severity").is_in(SEVERITIES))
    unseen = truth.filter(pl.col("severity").is_not_null() & pl.col("first_visible_at").is_null())
    spanless = truth.filter((pl.col("last_at") < pl.col("first_at")).fill_null(value=True))
    for found, what in (
        (twice, "a stay named twice; expected one row a stay"),
        (strange, f"an unknown severity; expected null or one of {', '.join(SEVERITIES)}"),
        (unseen, "a course without first_visible_at; expected a time for every severity"),
        (spanless, "a stay without a span; expected first_at not after last_at"),
    ):
        if len(found):
            raise InputRefused(f"{where}: {len(found)} rows have {what}")
    if not (truth["kind"] == BACKGROUND).any():
        raise InputRefused(f"{where}: no stay of kind 'background'; expected some, a burden is counted on them")
    return truth


def stays_of(truth: pl.DataFrame) -> Stays:
    """The arrays of a truth table (columns of ``TRUTH``)."""
    rows = {stay: row for row, stay in enumerate(truth["stay_id"])}
    twin = np.array([rows.get(stay, -1) for stay in truth["twin_of"]], dtype=np.int64)
    patients = truth["patient_id"].to_list()
    people = [patients[other] if other >= 0 else own for own, other in zip(patients, twin, strict=True)]
    numbers = {name: number for number, name in enumerate(dict.fromkeys(people))}
    visible = _times(truth["first_visible_at"])
    course = truth["severity"].is_not_null().to_numpy()
    opens = np.where(course, np.maximum(visible - BEFORE_VISIBLE, _times(truth["interrupted_at"])), NO_TIME)
    last, restored = _times(truth["last_at"]), _times(truth["restored_at"])
    closes = np.where(
        restored == NO_TIME, last, np.minimum(last, np.where(restored == NO_TIME, 0, restored) + AFTER_RESTORED)
    )
    return Stays(
        truth=truth, cells={name: np.array(truth[name].to_list(), dtype=object) for name in TRUTH}, rows=rows, twin=twin, person=np.array([numbers[name] for name in people], dtype=np.int64),
        days=(last - _times(truth["first_at"])) / DAY, opens=opens, closes=closes, visible=visible,
        organ_failure=_times(truth["organ_failure_at"]), course=course,
        background=(truth["kind"] == BACKGROUND).to_numpy(),
    )  # fmt: skip


def _times(column: pl.Series) -> Ints:
    return column.fill_null(int(NO_TIME)).to_numpy()
