"""Rows of the chart: nothing looks ahead, nothing stale is shown, units are the catalogue's."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from detector.catalogue.signals import Catalogue
from pipelines.dataset import OBSERVATION_COLUMNS, Dataset
from pipelines.evaluation.picture import pictures, readings
from pipelines.plan_files import load_plan
from pipelines.settings import Settings
from tests.pipelines.evaluation.toy import at


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return load_plan(Settings()).catalogue


def observed(code: str, value: float, hours: float, *, filed: float | None = None, **about: Any) -> dict[str, Any]:
    """A reading measured at ``hours`` and in the record at ``filed`` (the same where it is left out)."""
    row: dict[str, Any] = dict.fromkeys(OBSERVATION_COLUMNS)
    row |= {"patient_id": "p", "stay_id": "a", "code": code, "value": value, "status": "final", "file": 0, "row": 0}
    return row | {"effective_at": at(hours), "available_at": at(hours if filed is None else filed)} | about


def chart(catalogue: Catalogue, *rows: dict[str, Any]) -> pl.DataFrame:
    dataset = Dataset(("toy",), pl.DataFrame(list(rows), schema=OBSERVATION_COLUMNS))
    return pictures(readings(dataset, catalogue), catalogue)


def column(table: pl.DataFrame, name: str) -> dict[float, float | None]:
    hours = [(instant - at(0)) / 3_600_000 for instant in table["at"].to_list()]
    return dict(zip(hours, table[name].to_list(), strict=True))


def test_a_laboratory_value_is_unknown_before_it_is_filed(catalogue: Catalogue) -> None:
    table = chart(catalogue, observed("ck", 900, 8, filed=9), observed("hr", 80, 8.5), observed("hr", 80, 9.5))

    assert {8.5: None, 9.0: 900.0, 9.5: 900.0} == column(table, "ck_last")


def test_an_older_value_that_is_filed_later_never_becomes_the_last(catalogue: Catalogue) -> None:
    table = chart(catalogue, observed("ck", 900, 8, filed=9), observed("ck", 100, 2, filed=10))

    assert {9.0: 900.0, 10.0: 900.0} == column(table, "ck_last")


def test_a_value_is_shown_until_it_is_stale(catalogue: Catalogue) -> None:
    table = chart(catalogue, observed("temp", 38.2, 1), observed("hr", 80, 3), observed("hr", 80, 3.5))

    assert {1.0: 38.2, 3.0: 38.2, 3.5: None} == column(table, "temp_last")  # vitals: 2 h


def test_rows_are_at_most_one_in_fifteen_minutes_and_the_last_of_each(catalogue: Catalogue) -> None:
    table = chart(catalogue, *(observed("hr", 60 + minute, minute / 60) for minute in range(40)))

    assert 3 <= len(table) <= 4
    assert {60 + round(hours * 60): value for hours, value in column(table, "hr_last").items()} == {
        60 + round(hours * 60): 60.0 + round(hours * 60) for hours in column(table, "hr_last")
    }


def test_values_are_in_the_catalogues_units_whatever_they_came_in(catalogue: Catalogue) -> None:
    table = chart(
        catalogue, observed("8329-5", 104, 1, unit="[degF]"), observed("creat", 88.42, 1, unit="umol/L"),
        observed("sbp", 16, 1, unit="kPa"),
    )  # fmt: skip

    assert (40.0, 1.0, 120.0) == table.select("temp_last", "creat_last", "sbp_last").row(0)


@pytest.mark.parametrize(
    "unusable",
    [{"unit": "furlong"}, {"value": 500.0}, {"status": "entered-in-error"}, {"code": "8867-4x"}, {"site": "skin"}, {"stay_id": None}],
    ids=lambda one: next(iter(one)),
)  # fmt: skip
def test_what_cannot_be_used_is_left_out(catalogue: Catalogue, unusable: dict[str, Any]) -> None:
    table = chart(catalogue, observed("hr", 80, 1), observed("8310-5", 39, 1) | unusable)

    assert [None] == table["temp_last"].to_list()


def test_a_day_ends_at_the_row_and_holds_what_was_known_by_then(catalogue: Catalogue) -> None:
    table = chart(catalogue, observed("temp", 39, 1), observed("temp", 37, 20), observed("temp", 36.5, 30))

    assert {1.0: 39.0, 20.0: 39.0, 30.0: 37.0} == column(table, "temp_max_24h")
    assert {1.0: 39.0, 20.0: 38.0, 30.0: 36.75} == column(table, "temp_mean_24h")


def test_stays_do_not_see_each_other(catalogue: Catalogue) -> None:
    table = chart(
        catalogue, observed("ck", 5_000, 1), observed("hr", 80, 1), observed("hr", 90, 1.2, stay_id="b", patient_id="q")
    )
    other = table.filter(pl.col("stay_id") == "b")

    assert (None, None, 90.0) == other.select("ck_last", "ck_ratio", "hr_mean_24h").row(0)


def test_a_laboratory_value_is_compared_with_its_own_week(catalogue: Catalogue) -> None:
    table = chart(catalogue, observed("ck", 100, 0), observed("ck", 300, 24), observed("ck", 800, 24 * 9))

    assert {0.0: 1.0, 24.0: 1.5, 216.0: 1.0} == column(table, "ck_ratio")


def test_a_coma_scale_of_three_parts_is_their_sum(catalogue: Catalogue) -> None:
    parts = [observed(code, value, 1) for code, value in (("gcs_eye", 3), ("gcs_verbal", 4), ("gcs_motor", 6))]

    assert [13.0] == chart(catalogue, *parts)["gcs_last"].to_list()
    assert [None] == chart(catalogue, *parts[:2], observed("hr", 80, 1))["gcs_last"].to_list()
