"""The other generator: what is printed of published cases, and nothing that a model was fitted on."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from detector.errors import ConfigError
from pipelines.simulate import published
from pipelines.simulate.backgrounds import Background, synthetic_backgrounds, unsuitable
from pipelines.simulate.body import HOURS
from pipelines.simulate.cohort import ALL_CASES, PUBLISHED_CASES, build
from pipelines.simulate.inject import inject

USUAL = {
    "temp": 37.0, "hr": 80.0, "sbp": 120.0, "dbp": 60.0, "map": 80.0, "rr": 16.0, "gcs": 14.0, "spo2": 97.0, "ck": 100.0,
    "ast": 30.0, "alt": 30.0, "creat": 0.9, "wbc": 9.0, "plt": 200.0, "inr": 1.1, "k": 4.0, "hco3": 24.0,
}  # fmt: skip
EVERY = [(severity, case) for severity in published.SEVERITIES for case in published.CASES[severity]]


@pytest.fixture(scope="module")
def stays() -> list[Background]:
    return [one for one in synthetic_backgrounds(12, seed=9) if unsuitable(one) is None]


@pytest.mark.parametrize(("severity", "case"), EVERY, ids=[case["id"] for _, case in EVERY])
def test_a_course_comes_to_what_is_printed_of_its_case(severity: str, case: dict) -> None:
    for seed in range(5):
        made = published.of_case(case, severity, USUAL, 20.0, np.random.default_rng(seed))

        for signal, points in case["points"].items():
            low, high = np.ravel(points[-1][1])[[0, -1]].astype(float)
            if signal in made.factor:
                reached, was = USUAL[signal] * made.factor[signal], USUAL[signal]
                bounds = [was * (one / was) ** share for one in (low, high) for share in (0.85, 1.15)]
            elif signal in ("ck", "ast", "alt"):
                reached, was = USUAL[signal] + made.add[signal], USUAL[signal]
                bounds = [was * (one / was) ** share for one in (low, high) for share in (0.85, 1.15)]
            else:
                reached, was = USUAL[signal] + made.add[signal], USUAL[signal]
                bounds = [was + share * (one - was) for one in (low, high) for share in (0.85, 1.15)]
            assert min(bounds) - 1e-6 <= reached[-1] <= max(bounds) + 1e-6
            assert USUAL[signal] == pytest.approx(reached[0])
        assert set(made.factor) | set(made.add) - {"map"} == set(case["points"])
        assert ("tone" in made.drives) == ("tone" in case)


def test_its_numbers_are_those_of_the_published_cases(shared: Path) -> None:
    cases = json.loads((shared / "cases.json").read_text())
    ids = {case["case_id"].split("_")[0] for case in cases}
    printed = {
        (one["code"], round((one["value"] - 32) / 1.8, 2) if one["unit"] == "[degF]" else one["value"])
        for case in cases for one in case["events"]
    }  # fmt: skip

    for _, case in EVERY:
        assert case["id"] in ids
        for signal, points in case["points"].items():
            for _, level in points:
                assert isinstance(level, list) or any(
                    signal == code and level == pytest.approx(value, abs=0.03) for code, value in printed
                ), (case["id"], signal, level)


def test_a_patient_who_is_worse_already_is_not_made_better() -> None:
    ill = USUAL | {"ck": 40_000.0, "plt": 4.0, "gcs": 3.0}
    made = published.of_case(published.CASES["full_blown"][0], "full_blown", ill, 100.0, np.random.default_rng(1))

    for curve in (made.add["ck"], made.add["gcs"], np.log(made.factor["plt"])):
        assert np.abs(curve).max() < 1e-6


def test_lines_are_straight_but_for_one_break_between_two_points() -> None:
    made = published.of_case(published.CASES["moderate"][1], "moderate", USUAL, 100.0, np.random.default_rng(2))
    turns = np.flatnonzero(np.abs(np.diff(made.add["temp"], 2)) > 1e-9)

    assert 2 <= len(turns) <= 4  # at the break and at the top; each may fall between two hours of the grid
    assert len(HOURS) == len(made.add["temp"])


def test_a_stay_is_its_background_up_to_the_onset(stays: list[Background]) -> None:
    for background in stays[:4]:
        made = inject(background, published.KIND, "full_blown", seed=4)
        keys = ["code", "effective_at", "available_at"]
        before = made.observations.filter(
            (pl.col("effective_at") < made.truth.onset_at) & (pl.col("code") != "local:mas")
        )
        was = background.observations.select(*keys, pl.col("value").alias("was"))
        joined = before.join(was, on=keys, how="inner")

        assert len(joined) > 50
        assert joined["value"].equals(joined["was"])
        assert published.GENERATOR == made.truth.generator


def test_no_model_is_fitted_on_it(stays: list[Background]) -> None:
    assert not {*ALL_CASES} & {*PUBLISHED_CASES}

    cohort = build(stays, 2, seed=5, cases=PUBLISHED_CASES, twins=False)
    assert [s for s in published.SEVERITIES for _ in range(2)] == [one.severity for one in cohort.truth]
    assert cohort.truth == build(stays, 2, seed=5, cases=PUBLISHED_CASES, twins=False).truth


def test_a_severity_that_no_case_has_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"severity 'awful'.*expected one of"):
        published.course("awful", USUAL, 48.0, np.random.default_rng(0))
