"""What the score makes of courses that it was not fitted on: the family is out of the fit, and asked about afterwards."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

import models
from models.bundle import FOLDER, open_models
from models.columns import column_names
from pipelines.evaluation.truth import TRUTH, Stays, stays_of
from pipelines.model_files import columns_of
from pipelines.plan_files import load_plan
from pipelines.settings import Settings
from pipelines.simulate.backgrounds import synthetic_backgrounds
from pipelines.simulate.cohort import build
from pipelines.training.families import FAMILIES, Family, families, left_out
from pipelines.training.labels import labelled
from pipelines.training.rows import row_table
from pipelines.yaml_files import read_yaml

CASES = [("withdrawal", "full_blown"), ("partial_withdrawal", "moderate"), ("septic_shock", None)]


def test_a_family_that_is_left_out_has_no_row_in_the_fit_and_every_other_row_stays() -> None:
    examples = pl.DataFrame({
        "kind": ["background", "withdrawal", "withdrawal", "sepsis", "septic_shock"],
        "generator": [None, "balance", "episodic", "balance", "logistic"],
        "severity": [None, "mild", "full_blown", None, None],
        "row": [1, 2, 3, 4, 5],
    })  # fmt: skip
    kept = {family.name: left_out(examples, family)["row"].to_list() for family in FAMILIES}

    assert [1, 2, 3] == kept["sepsis"]
    assert [1, 4, 5] == kept["withdrawal"]
    assert [1, 3, 5] == kept["generator balance"]
    assert [1, 3, 4, 5] == kept["every mild withdrawal"]
    assert [1, 2, 3, 4, 5] == kept["dysreflexia"]
    assert [1, 2, 4, 5] == left_out(examples, Family("both", ("withdrawal",), generator="episodic"))["row"].to_list()


@pytest.fixture(scope="module")
def people() -> tuple[pl.DataFrame, Stays, tuple[str, ...]]:
    plan = load_plan(Settings())
    names = column_names(columns_of(plan.catalogue))
    cohort = build(synthetic_backgrounds(10, 3), 4, seed=3, cases=CASES)
    truth = cohort.truth_table("synthetic")
    examples = labelled(row_table(plan, cohort.dataset(), names), truth)
    return examples, stays_of(truth.select(pl.col(name).cast(kind) for name, kind in TRUTH.items())), names


def test_a_family_is_asked_about_with_and_without_having_been_seen(
    people: tuple[pl.DataFrame, Stays, tuple[str, ...]],
) -> None:
    examples, stays, names = people
    written = read_yaml(Path(models.__file__).parent / "features.yaml")
    family = Family("two kinds", ("partial_withdrawal", "septic_shock"))
    whole = open_models(FOLDER, names).withdrawal
    rows = families(examples, examples, whole, stays, written, seed=1, chosen=(family,))

    assert [("two kinds", "charted"), ("two kinds", "not_charted")] == [(row["family"], row["tone"]) for row in rows]
    for row in rows:
        found, alike = row["found"], row["look_alikes"]
        assert [4, 4] == [found[name]["of"] for name in ("with", "without")]
        assert row["won"] - row["lost"] == found["without"]["hits"] - found["with"]["hits"]
        days = float(stays.days[stays.where(kind="septic_shock")].sum())
        assert [days, days] == [pytest.approx(alike[name]["of"]) for name in ("with", "without")]
    assert rows == json.loads(json.dumps(rows))
