"""Kidney questions: stage by creatinine with what is known of the stay, and urine output from rates or volumes."""

from typing import Any

from tests.detector.rules.conftest import Ask

ONE, THREE = {"kidney_injury": {"stage": 1}}, {"kidney_injury": {"stage": 3}}
URINE = {"urine_below": {"ml_per_kg_h": 0.3, "fallback_ml_h": 20, "within": "PT24H"}}
HEAVY = {"weight_kg": 70}


def test_the_newest_creatinine_is_staged_against_the_supplied_baseline(ask: Ask) -> None:
    found = ask(ONE, ["0:00 creat 1.2"], baseline={"creat": 0.8})

    assert ("true", "24:00", ("KDIGO stage 1, from 0.8",)) == (found.truth, found.until, found.changes)
    assert "false" == ask(THREE, ["0:00 creat 1.2"], baseline={"creat": 0.8}).truth


def test_without_a_baseline_it_is_staged_against_the_week_before(ask: Ask) -> None:
    assert "unknown" == ask(ONE, ["0:00 creat 3.0"]).truth
    assert "true" == ask(THREE, ["0:00 creat 1.0", "40:00 creat 3.0"], "40:00").truth
    assert ("KDIGO stage 3, from 1",) == ask(THREE, ["0:00 creat 1.0", "40:00 creat 3.0"], "40:00").changes


def test_a_creatinine_of_a_day_ago_is_stale(ask: Ask) -> None:
    assert "unknown" == ask(ONE, ["0:00 creat 1.6"], "24:00", baseline={"creat": 0.8}).truth
    assert "unknown" == ask(ONE, ["0:00 hr 80"]).truth


def test_renal_replacement_is_stage_3_with_and_without_a_creatinine(ask: Ask) -> None:
    assert "true" == ask(THREE, ["0:00 context rrt started"]).truth
    assert "true" == ask(THREE, ["0:00 context rrt started", "0:00 creat 0.9"]).truth


def urine(ask: Ask, given: list[str], at: str = "0:00", **patient: Any) -> str:
    return ask(URINE, given, at, **patient).truth


def test_a_charted_rate_is_held_against_the_weight(ask: Ask) -> None:
    assert "true" == urine(ask, ["0:00 uop 20.9"], **HEAVY)
    assert "false" == urine(ask, ["0:00 uop 21"], **HEAVY)
    assert "true" == urine(ask, ["0:00 uop 0.2 mL/kg/h"], **HEAVY)


def test_without_a_weight_an_adult_is_held_against_20_ml_an_hour_and_a_child_is_unknown(ask: Ask) -> None:
    assert "true" == urine(ask, ["0:00 uop 400 mL/d"])
    assert "false" == urine(ask, ["0:00 uop 20"], age_years=40)
    assert "unknown" == urine(ask, ["0:00 uop 5"], age_years=9)


def test_a_stale_rate_is_unknown(ask: Ask) -> None:
    assert "unknown" == urine(ask, ["0:00 uop 5"], "2:00", **HEAVY)
    assert "unknown" == urine(ask, ["0:00 hr 80"], **HEAVY)


def test_volumes_count_when_there_are_three_over_half_of_the_window(ask: Ask) -> None:
    little = ["0:00 urine_volume 100", "6:00 uop 100 mL", "12:00 urine_volume 100"]
    found = ask(URINE, little, "12:00", **HEAVY)

    assert "unknown" == urine(ask, little, "11:59", **HEAVY)
    assert ("true", (("urine_volume", 100.0),), ("12 mL/h over 24 h",)) == (found.truth, found.cites, found.changes)
    assert "unknown" == urine(ask, little[:2], "13:00", **HEAVY)
    assert "unknown" == urine(ask, ["0:00 urine_volume 10", "40:00 hr 80"], "40:00", **HEAVY)


def test_enough_volume_is_false(ask: Ask) -> None:
    plenty = ["0:00 urine_volume 300", "6:00 urine_volume 300", "12:00 urine_volume 300"]

    assert "false" == urine(ask, plenty, "12:00", **HEAVY)
