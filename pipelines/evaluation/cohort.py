"""A cohort on disk: stays in the canonical formats of replay, and the truth about them.

A folder with observations.parquet, stays.parquet, truth.parquet and, where there are any, pumps.ndjson and
context.ndjson. Without pumps.ndjson every patient has a pump with nothing known since.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl

from detector.errors import ConfigError
from pipelines.dataset import SYNTHETIC, Dataset, InputRefused
from pipelines.datasets import open_dataset
from pipelines.evaluation.truth import BACKGROUND, checked, read_truth
from pipelines.simulate.backgrounds import synthetic_backgrounds
from pipelines.simulate.cohort import ALL_CASES, build, write

OBSERVATIONS, STAYS, PUMPS, CONTEXT, TRUTH = (
    "observations.parquet", "stays.parquet", "pumps.ndjson", "context.ndjson", "truth.parquet",
)  # fmt: skip


@dataclass
class Cohort:
    """Events of past stays and what was really going on in them."""

    name: str
    dataset: Dataset
    truth: pl.DataFrame

    @property
    def synthetic_background(self) -> bool:
        """Whether even the stays without any course were made up. A CK that is put into a real stay, so that courses are
        not given away by theirs, does not make it one.
        """
        stays = self.truth.filter(pl.col("kind") == BACKGROUND)["stay_id"]
        observed = self.dataset.observations.filter(pl.col("stay_id").is_in(stays.implode()))
        return bool(len(observed)) and bool(observed["source"].eq_missing(SYNTHETIC).all())


def read_cohort(folder: Path) -> Cohort:
    """Read a cohort.

    Raises:
        ConfigError: the folder or one of its tables is not there.
        InputRefused: a table cannot be used.
        OSError: a file cannot be read.
    """
    for name in (OBSERVATIONS, STAYS, TRUTH):
        if not (folder / name).is_file():
            raise ConfigError([f"{folder / name}: no such file; expected a cohort folder with {name}, COHORT_DIR"])
    truth = read_truth(folder / TRUTH)
    pumps, context = folder / PUMPS, folder / CONTEXT
    dataset = open_dataset(
        "canonical", [folder / OBSERVATIONS], stays=folder / STAYS,
        pumps=str(pumps) if pumps.is_file() else "all", context=context if context.is_file() else None,
    )  # fmt: skip
    return Cohort(folder.name, dataset, truth)


def simulated_cohort(
    beds: int, courses: int, seed: int, told: Callable[[str, int, int], object] = lambda *_: None
) -> Cohort:
    """Courses in synthetic stays: what a fresh clone can be tried on, and no more than that."""
    stays = list(synthetic_backgrounds(beds, seed))
    total = len(ALL_CASES) * courses + beds
    made = build(stays, courses, seed=seed, progress=lambda done: told("simulate", done, total))
    with TemporaryDirectory(prefix="itbwatch-") as folder:
        write(made, Path(folder) / SYNTHETIC)
        return read_cohort(Path(folder) / SYNTHETIC)


def all_truth(cohorts: Sequence[Cohort]) -> pl.DataFrame:
    """The truth of all cohorts in one table.

    Raises:
        InputRefused: two cohorts name the same stay.
    """
    names = ", ".join(cohort.name for cohort in cohorts)
    return checked(pl.concat(cohort.truth for cohort in cohorts), names)


def check_observed(cohorts: Sequence[Cohort]) -> None:
    """Refuse cohorts whose tables do not belong together.

    Raises:
        InputRefused: the truth names a stay without a single observation.
    """
    for cohort in cohorts:
        known = cohort.dataset.observations["stay_id"].unique()
        missing = cohort.truth.filter(~pl.col("stay_id").is_in(known.implode()))
        if len(missing):
            raise InputRefused(
                f"{cohort.name}/{TRUTH}: {len(missing)} of {len(cohort.truth)} stays have no observation; "
                f"expected the truth of {cohort.name}/{OBSERVATIONS}"
            )
