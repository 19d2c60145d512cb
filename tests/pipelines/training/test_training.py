"""Models are fitted on the rows the engine would score, and the same data give the same models."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner

from detector.engine import Ward, run
from detector.scoring import FeatureRow, Scores
from models.bundle import open_models
from models.columns import column_names
from pipelines.commands.train import command
from pipelines.model_files import columns_of
from pipelines.plan_files import load_plan
from pipelines.settings import Settings
from pipelines.simulate.backgrounds import synthetic_backgrounds
from pipelines.simulate.cohort import Cohort, build
from pipelines.training import run as training
from pipelines.training.families import FAMILIES
from pipelines.training.labels import labelled
from pipelines.training.metrics import without_tone
from pipelines.training.rows import row_table

PLAN = load_plan(Settings())
NAMES = column_names(columns_of(PLAN.catalogue))


@pytest.fixture(scope="module")
def cohort() -> Cohort:
    return build(synthetic_backgrounds(12, 3), 1, seed=3, cases=[("withdrawal", "full_blown"), ("septic_shock", None)])


class Listening:
    """A scorer that keeps what it was asked."""

    def __init__(self) -> None:
        self.rows: list[FeatureRow] = []

    def score(self, rows: list[FeatureRow]) -> list[Scores]:
        self.rows += rows
        return [{}] * len(rows)


def test_rows_without_rules_are_those_the_engine_scores(cohort: Cohort) -> None:
    listening = Listening()
    dataset = cohort.dataset()
    for _, events in dataset.by_patient():
        run(PLAN, Ward(PLAN), events, listening)

    table = row_table(PLAN, dataset, NAMES)

    assert len(table) == len(listening.rows) > 100
    seen = {(one.patient_id, one.at): dict(one.values) for one in listening.rows}
    for one in table.iter_rows(named=True):
        values = {name: value for name, value in one.items() if name in NAMES and value is not None}
        assert seen[one["patient_id"], one["at"]] == values


def test_a_row_is_an_example_of_what_was_visible_then(cohort: Cohort) -> None:
    truth = cohort.truth_table("synthetic")
    examples = labelled(row_table(PLAN, cohort.dataset(), NAMES), truth)
    course = truth.row(by_predicate=pl.col("severity") == "full_blown", named=True)
    mine = examples.filter(pl.col("stay_id") == course["stay_id"])

    assert {0} == set(examples.filter(pl.col("kind") != "withdrawal")["label"])
    assert {0} == set(mine.filter(pl.col("at") < course["onset_at"])["label"])
    assert {1} == set(mine.filter(pl.col("at") >= course["first_visible_at"])["label"])
    assert 0 == len(mine.filter(pl.col("at").is_between(course["onset_at"], course["first_visible_at"] - 1)))


def test_the_same_data_give_the_same_models_whatever_else_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = [family for family in FAMILIES if family.name in ("every mild withdrawal", "sepsis")]
    monkeypatch.setattr(training, "FAMILIES", chosen)  # every one of them costs a fit
    manifests, scores, said = [], [], ""
    for name, more in (("a", ["--ablation"]), ("b", ["--families"])):
        done = CliRunner().invoke(command, ["--beds", "40", "--courses", "1", *more, "--out", str(tmp_path / name)])
        assert 0 == done.exit_code, done.output
        assert "say nothing of patients" in done.output
        said = done.output
        manifests.append(json.loads((tmp_path / name / "manifest.json").read_text()))
        models = open_models(tmp_path / name, NAMES)
        rng = np.random.default_rng(5)
        rows = [FeatureRow("p", 0, {n: float(v) for n, v in zip(NAMES, rng.normal(60, 30, len(NAMES)), strict=True)})
                for _ in range(50)]  # fmt: skip
        scores.append([one["withdrawal"].value for one in models.score(rows)])

    for digest in ("parameters_digest", "rows_digest", "columns_digest", "version"):
        assert manifests[0][digest] == manifests[1][digest]
    assert scores[0] == scores[1]
    assert manifests[0]["synthetic_backgrounds"]
    parts = {one.pop("configuration"): one for one in manifests[0]["metrics"]["ablation"]}
    assert ["score", "without personal", "with joint"] == list(parts)
    assert (
        parts["score"]["charted"] == manifests[0]["metrics"]["score_alone_at_budgets"] != parts["score"]["not_charted"]
    )
    told = [(one["family"], one["tone"]) for one in manifests[1]["metrics"]["families"]]
    assert [(one.name, tone) for one in chosen for tone in ("charted", "not_charted")] == told
    assert all(words in said for words in ("left out of the fit", "every", "mild", "sepsis"))


def test_without_tone_a_row_says_nothing_of_it_and_keeps_all_else() -> None:
    tone = ("mas_last_24h", "spasticity_said_24h")
    charted = pl.DataFrame({"temp_last_6h": [38.0], "mas_last_24h": [3.0], "spasticity_said_24h": [1.0]})

    assert (38.0, None, 0.0) == without_tone(charted, tone).row(0)


def test_an_odd_number_of_tables_is_a_usage_error(tmp_path: Path) -> None:
    done = CliRunner().invoke(command, ["observations.parquet", "--out", str(tmp_path)])

    assert 2 == done.exit_code
