"""Cohorts that cannot be evaluated are refused in one line that says why."""

from __future__ import annotations

from pathlib import Path
from shutil import copytree

import polars as pl
import pytest

from detector.errors import ConfigError
from pipelines.dataset import SYNTHETIC, InputRefused
from pipelines.evaluation.cohort import all_truth, check_observed, read_cohort
from pipelines.evaluation.truth import TRUTH, read_truth
from tests.pipelines.evaluation.toy import course, stay, truth_of


def test_a_folder_without_truth_is_named(tmp_path: Path, cohort_folder: Path) -> None:
    copytree(cohort_folder, tmp_path / "copy")
    (tmp_path / "copy" / "truth.parquet").unlink()

    with pytest.raises(ConfigError, match=r"truth\.parquet: no such file"):
        read_cohort(tmp_path / "copy")


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        ([stay("a"), stay("a")], "named twice"),
        ([stay("a"), course("b", severity="awful")], "unknown severity"),
        ([stay("a"), course("b", visible=None)], "without first_visible_at"),
        ([stay("a", hours=-1)], "without a span"),
        ([stay("a", kind="septic_shock")], "no stay of kind 'background'"),
    ],
)
def test_a_truth_that_contradicts_itself_is_refused(tmp_path: Path, rows: list[dict[str, object]], why: str) -> None:
    truth_of(*rows).write_parquet(tmp_path / "truth.parquet")

    with pytest.raises(InputRefused, match=why):
        read_truth(tmp_path / "truth.parquet")


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    truth_of(stay("a")).drop("severity").write_parquet(tmp_path / "truth.parquet")

    with pytest.raises(InputRefused, match="no column 'severity'"):
        read_truth(tmp_path / "truth.parquet")


def test_times_may_be_timestamps(tmp_path: Path) -> None:
    truth = truth_of(stay("a"))
    times = [name for name in TRUTH if name.endswith("_at")]
    truth.with_columns(pl.from_epoch(name, "ms").cast(pl.Datetime("us", "UTC")) for name in times).write_parquet(
        tmp_path / "t.parquet"
    )

    assert truth.equals(read_truth(tmp_path / "t.parquet"))


def test_two_cohorts_may_not_name_the_same_stay(cohort_folder: Path) -> None:
    cohort = read_cohort(cohort_folder)

    with pytest.raises(InputRefused, match="named twice"):
        all_truth([cohort, cohort])


def test_a_truth_of_other_stays_is_refused(cohort_folder: Path) -> None:
    cohort = read_cohort(cohort_folder)
    cohort.truth = pl.concat([cohort.truth, truth_of(stay("nowhere"))])

    with pytest.raises(InputRefused, match=f"1 of {len(cohort.truth)} stays have no observation"):
        check_observed([cohort])


def test_a_simulated_background_is_said_to_be_synthetic(cohort_folder: Path) -> None:
    assert read_cohort(cohort_folder).synthetic_background


def test_a_real_background_with_one_made_up_result_is_a_real_background(cohort_folder: Path) -> None:
    cohort = read_cohort(cohort_folder)
    observed = cohort.dataset.observations
    made_up = pl.when(pl.int_range(pl.len()).over("stay_id") == 0).then(pl.lit(SYNTHETIC))
    cohort.dataset.observations = observed.with_columns(source=made_up)

    assert not cohort.synthetic_background
