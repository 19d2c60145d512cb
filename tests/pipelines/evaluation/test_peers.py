"""The peers against patients worked by hand, and against what they may not see."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest

from pipelines.evaluation.peers import all_peers, folds, scores_of
from pipelines.evaluation.peers.early_warning import NEWS2, SIRS
from pipelines.evaluation.peers.single import AnyAlarm, SingleAlarm
from pipelines.evaluation.picture import LABS, VITALS
from tests.pipelines.evaluation.toy import at, course, stay, stays_from

NORMAL = {"rr": 16.0, "spo2": 97.0, "sbp": 120.0, "hr": 70.0, "gcs": 15.0, "temp": 37.0, "wbc": 8.0}


def rows_of(*charts: dict[str, Any]) -> pl.DataFrame:
    names = [f"{signal}_last" for signal in (*VITALS, *LABS)]
    table = pl.DataFrame(
        [{f"{signal}_last": value for signal, value in chart.items()} for chart in charts],
        schema=dict.fromkeys(names, pl.Float64),
    )
    return table.with_columns(stay_id=pl.lit("a"), at=pl.int_range(pl.len(), dtype=pl.Int64))


def news2(**changed: float | None) -> float | None:
    return NEWS2().score(rows_of(NORMAL | changed))[0]  # type: ignore[no-any-return]


def test_news2_of_a_sick_patient_is_the_sum_of_its_points() -> None:
    # Royal College of Physicians 2017: RR 22 = 2, SpO2 95 = 1, systolic 105 = 1, pulse 115 = 2, alert = 0, 38.5 = 1
    assert 7 == news2(rr=22, spo2=95, sbp=105, hr=115, temp=38.5)


@pytest.mark.parametrize(
    ("signal", "points"),
    [
        ("rr", {8: 3, 9: 1, 11: 1, 12: 0, 20: 0, 21: 2, 24: 2, 25: 3}),
        ("spo2", {91: 3, 92: 2, 93: 2, 94: 1, 95: 1, 96: 0}),
        ("sbp", {90: 3, 91: 2, 100: 2, 101: 1, 110: 1, 111: 0, 219: 0, 220: 3}),
        ("hr", {40: 3, 41: 1, 50: 1, 51: 0, 90: 0, 91: 1, 110: 1, 111: 2, 130: 2, 131: 3}),
        ("gcs", {14: 3, 15: 0}),
        ("temp", {35.0: 3, 35.1: 1, 36.0: 1, 36.1: 0, 38.0: 0, 38.04: 0, 38.1: 1, 39.0: 1, 39.1: 2}),
    ],
)
def test_news2_gives_the_points_of_the_published_chart_at_every_edge(signal: str, points: dict[float, int]) -> None:
    assert points == {value: news2(**{signal: value}) for value in points}


def test_news2_takes_the_unknown_for_normal_and_says_nothing_of_too_little() -> None:
    assert 3 == news2(rr=25, spo2=None, gcs=None, temp=None)
    assert news2(spo2=None, gcs=None, temp=None, sbp=None) is None


@pytest.mark.parametrize(
    ("changed", "criteria"),
    [({}, 0), ({"temp": 38.0, "hr": 90.0, "rr": 20.0, "wbc": 12.0}, 0), ({"temp": 38.1, "hr": 91.0, "rr": 21.0, "wbc": 12.1}, 4),
     ({"temp": 35.9, "wbc": 3.9}, 2), ({"temp": None, "wbc": None, "rr": None, "hr": 130.0}, None)],
)  # fmt: skip
def test_sirs_counts_its_criteria(changed: dict[str, float | None], criteria: int | None) -> None:
    assert criteria == SIRS().score(rows_of(NORMAL | changed))[0]


def test_a_single_alarm_turns_so_that_higher_is_worse() -> None:
    rows = rows_of({"sbp": 80.0}, {"sbp": 120.0}, {"hr": 1.0})

    assert [-80.0, -120.0, None] == SingleAlarm("sbp", -1).score(rows).to_list()


def test_any_alarm_is_as_rare_as_its_rarest_value_and_goes_on_beyond_the_background() -> None:
    background = rows_of(*({"temp": 36 + number / 500, "hr": 60 + number / 25} for number in range(1_000)))
    alarm = AnyAlarm()
    alarm.fit(background, np.zeros(1_000, dtype=bool), 1)
    ordinary, hot, hotter, fast, nothing = alarm.score(
        rows_of({"temp": 36.9, "hr": 78.0}, {"temp": 39.0, "hr": 78.0}, {"temp": 40.0}, {"hr": 140.0}, {"ck": 9e4})
    ).to_list()

    assert ordinary < hot < hotter
    assert ordinary < fast
    assert nothing is None


def toy_cohort(people: int = 12) -> tuple[pl.DataFrame, Any]:
    """Backgrounds with noise, and a course each in which temperature climbs."""
    rng = np.random.default_rng(2)
    stays = stays_from(
        *(stay(f"b{n}") for n in range(people)), *(course(f"c{n}", f"b{n}", visible=48) for n in range(people))
    )
    parts = []
    for name in stays.rows:
        hours = np.arange(0, 96, 0.5)
        rise = np.clip((hours - 48) / 12, 0, 1) * (2.5 if name.startswith("c") else 0)
        values = {f"{signal}_last": np.full(len(hours), np.nan) for signal in (*VITALS, *LABS)}
        values |= {
            "temp_last": 37 + rise + rng.normal(0, 0.2, len(hours)),
            "hr_last": 80 + rng.normal(0, 5, len(hours)),
        }
        parts.append(
            pl.DataFrame({"stay_id": [name] * len(hours), "at": [at(hour) for hour in hours], **values}).fill_nan(None)
        )
    return pl.concat(parts), stays


def test_every_peer_scores_every_row_or_says_that_it_cannot() -> None:
    rows, stays = toy_cohort()
    told: list[str] = []
    scores = scores_of(all_peers(), rows, stays, seed=1, progress=told.append)

    assert told == list(scores)
    assert {
        "NEWS2",
        "SIRS",
        "temp high",
        "any single alarm",
        "half-space trees",
        "isolation forest",
        "gradient boosting",
    } <= scores.keys()
    for name, frame in scores.items():
        assert (["stay_id", "at", "score"], len(rows)) == (frame.columns, len(frame)), name
        assert not frame["score"].is_nan().any(), name


@pytest.mark.parametrize("name", ["temp high", "any single alarm", "isolation forest", "gradient boosting"])
def test_a_peer_that_sees_temperature_scores_the_course_above_the_background(name: str) -> None:
    rows, stays = toy_cohort()
    peers = [peer for peer in all_peers() if peer.name == name]
    frame = scores_of(peers, rows, stays, seed=1)[name]
    late = frame.filter(pl.col("at") > at(62)).group_by(pl.col("stay_id").str.slice(0, 1)).agg(pl.col("score").median())
    medians = dict(late.iter_rows())

    assert medians["c"] > medians["b"]


def test_no_stay_is_scored_by_what_its_own_person_taught() -> None:
    rows, stays = toy_cohort()
    seen: list[set[str]] = []
    scored: list[set[str]] = []

    class Listening:
        name, learns, background_only = "listening", True, False

        def fit(self, rows: pl.DataFrame, course: Any, seed: int) -> None:
            seen.append(set(rows["stay_id"].str.slice(1)))

        def score(self, rows: pl.DataFrame) -> pl.Series:
            scored.append(set(rows["stay_id"].str.slice(1)))
            return pl.Series([0.0] * len(rows))

    scores_of([Listening()], rows, stays, seed=1)

    assert set.union(*scored) == {str(number) for number in range(12)}
    assert all(not taught & own for taught, own in zip(seen, scored, strict=True))


def test_folds_keep_a_course_with_its_twin() -> None:
    _, stays = toy_cohort()
    fold = folds(stays, 3)

    assert (fold[:12] == fold[12:]).all()
    assert {0, 1, 2} == set(fold.tolist())


def test_equal_seeds_give_equal_scores() -> None:
    rows, stays = toy_cohort(6)
    peers = lambda: [peer for peer in all_peers() if peer.learns]  # noqa: E731 - two sets, neither taught by the other
    once, again = (scores_of(peers(), rows, stays, seed=9) for _ in range(2))

    assert all(once[name].equals(again[name]) for name in once)
