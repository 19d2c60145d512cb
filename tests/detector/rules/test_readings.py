"""Questions about the readings of one window (DESIGN.md 4.3, clinical-evidence.md 5.1)."""

from typing import Any

import pytest

from tests.detector.rules.conftest import Ask


def reading(**words: Any) -> dict[str, Any]:
    return {"reading": words}


FEVER = reading(signal="temp", at_least=38.0, within="PT4H")
LATEST = reading(signal="temp", below=38.0, within="PT24H", which="latest")


def test_a_window_is_true_when_one_reading_satisfies(ask: Ask) -> None:
    found = ask(FEVER, ["0:00 temp 38.0", "1:00 temp 37.0"], "1:00")

    assert ("true", "4:00") == found[:2]
    assert (("temp", 38.0),) == found.cites


def test_it_cites_the_first_the_most_extreme_and_the_newest_that_satisfy(ask: Ask) -> None:
    found = ask(FEVER, ["0:00 temp 38.1", "1:00 temp 38.3", "2:00 temp 40.1", "3:00 temp 38.2"], "3:00")

    assert (("temp", 38.1), ("temp", 40.1), ("temp", 38.2)) == found.cites


def test_the_most_extreme_is_left_out_when_its_site_does_not_count(ask: Ask) -> None:
    when = reading(signal="temp", at_least=38.0, within="PT4H", sites_not=["skin"])

    assert (("temp", 38.1),) == ask(when, ["0:00 temp 38.1", "1:00 temp 39.9 site=skin"], "1:00").cites


def test_a_reading_leaves_its_window_at_the_end_of_it(ask: Ask) -> None:
    assert "true" == ask(FEVER, ["0:00 temp 39", "3:50 temp 37"], "3:59").truth
    assert "false" == ask(FEVER, ["0:00 temp 39", "3:50 temp 37"], "4:00").truth


def test_it_is_false_only_while_the_newest_reading_is_fresh(ask: Ask) -> None:
    assert ("false", "2:00") == ask(FEVER, ["0:00 temp 37"], "1:59")[:2]
    assert "unknown" == ask(FEVER, ["0:00 temp 37"], "2:00").truth


def test_a_window_shorter_than_staleness_ends_the_false(ask: Ask) -> None:
    when = reading(signal="ck", at_least=1000, within="PT6H")

    assert ("false", "6:00") == ask(when, ["0:00 ck 100"], "5:59")[:2]
    assert "unknown" == ask(when, ["0:00 ck 100"], "6:00").truth


def test_no_reading_at_all_is_unknown(ask: Ask) -> None:
    assert ("unknown", "never") == ask(FEVER, ["0:00 hr 80"])[:2]


@pytest.mark.parametrize(
    ("op", "value", "truth"),
    [("at_least", 38.0, "true"), ("above", 38.0, "false"), ("at_most", 38.0, "true"), ("below", 38.0, "false"),
     ("above", 37.99, "true"), ("below", 38.01, "true")],
)  # fmt: skip
def test_the_four_comparisons_at_their_edge(ask: Ask, op: str, value: float, truth: str) -> None:
    assert truth == ask(reading(signal="temp", within="PT4H", **{op: value}), ["0:00 temp 38.0"]).truth


def test_the_latest_reading_decides_and_goes_stale(ask: Ask) -> None:
    given = ["0:00 temp 39", "1:00 temp 37"]

    assert "false" == ask(LATEST, given, "0:30").truth
    assert ("true", "3:00") == ask(LATEST, given, "1:00")[:2]
    assert "unknown" == ask(LATEST, given, "3:00").truth


def test_the_latest_passes_over_what_does_not_count(ask: Ask) -> None:
    when = reading(signal="plt", below=100, within="PT24H", which="latest", flags_not=["clumped"])

    assert "true" == ask(when, ["0:00 plt 90", "1:00 plt 200 flags=clumped"], "1:00").truth
    assert "unknown" == ask(when, ["1:00 plt 20 flags=clumped"], "1:00").truth


def test_a_flag_is_a_note_on_the_evidence_and_never_removes_the_value(ask: Ask) -> None:
    found = ask(reading(signal="k", above=6, within="PT24H"), ["0:00 k 6.8 flags=hemolyzed"])

    assert ("true", ("flagged hemolyzed",)) == (found.truth, found.changes)


def test_two_readings_must_be_far_enough_apart(ask: Ask) -> None:
    when = reading(signal="temp", at_least=38.0, within="PT4H", twice_apart="PT30M")

    assert "false" == ask(when, ["0:00 temp 38", "0:29 temp 38"], "0:29").truth
    assert ("true", "4:00") == ask(when, ["0:00 temp 38", "0:30 temp 38"], "0:30")[:2]


def test_skin_never_counts_alone_but_may_be_one_of_two(ask: Ask) -> None:
    when = reading(signal="temp", at_least=38.0, within="PT4H", twice_apart="PT30M", sites_not=["skin"])

    assert "false" == ask(when, ["0:00 temp 38 site=skin", "1:00 temp 38 site=skin"], "1:00").truth
    assert "true" == ask(when, ["0:00 temp 38 site=skin", "1:00 temp 38 site=oral"], "1:00").truth
    assert "true" == ask(when, ["0:00 temp 38 site=oral", "1:00 temp 38 site=skin"], "1:00").truth


def test_a_second_reading_confirms_on_either_side_but_not_at_the_same_instant(ask: Ask) -> None:
    when = reading(signal="temp", at_least=41.1, within="PT6H", confirmed_by={"at_least": 40.5, "within": "PT4H"})

    assert "true" == ask(when, ["0:00 temp 40.5", "1:00 temp 41.1"], "1:00").truth
    assert "true" == ask(when, ["0:00 temp 41.1", "4:00 temp 40.5"], "4:00").truth
    assert "false" == ask(when, ["0:00 temp 41.1", "0:00 temp 40.6 site=oral"]).truth


def test_a_window_may_begin_at_a_pump_event(ask: Ask) -> None:
    since = {"pump": ["restored"], "plus": "PT6H"}
    when = reading(signal="temp", at_least=40.0, within="PT24H", since=since)

    assert ("false", "never") == ask(when, ["0:00 temp 41"])[:2]
    assert ("false", "6:00") == ask(when, ["0:00 pump restored", "1:00 temp 41"], "1:00")[:2]
    assert "true" == ask(when, ["0:00 pump restored", "1:00 temp 37", "7:00 temp 40"], "7:00").truth
    assert "false" == ask(when, ["0:00 pump restored", "1:00 temp 41", "7:00 temp 38"], "7:00").truth


def test_under_cooling_a_low_temperature_says_nothing_and_a_high_one_still_speaks(ask: Ask) -> None:
    cooled = ["0:00 context cooling started", "0:10 temp 36.0"]

    assert "unknown" == ask(FEVER, cooled, "0:10").truth
    assert "unknown" == ask(LATEST, cooled, "0:10").truth
    assert "unknown" == ask(reading(signal="temp", below=38.0, within="PT4H"), cooled, "0:10").truth
    assert "unknown" == ask(reading(signal="temp", at_least=38, within="PT24H", which="latest"), cooled, "0:10").truth
    assert "true" == ask(FEVER, ["0:00 context cooling started", "0:10 temp 39.0"], "0:10").truth


def test_what_a_treatment_makes_unreadable_is_unknown(ask: Ask) -> None:
    when = reading(signal="gcs", at_most=8, within="PT12H")

    assert "unknown" == ask(when, ["0:00 gcs 3", "0:00 context sedation started"]).truth


def test_a_threshold_in_upper_limits_of_normal_knows_the_sex_and_the_report(ask: Ask) -> None:
    when = reading(signal="ck", at_least={"uln_times": 5, "floor": 1000}, within="PT24H")

    assert "true" == ask(when, ["0:00 ck 1300"], sex="female").truth
    assert "false" == ask(when, ["0:00 ck 1300"], sex="male").truth
    assert "true" == ask(when, ["0:00 ck 1300 uln=200"], sex="male").truth
    assert "unknown" == ask(when, ["0:00 hr 80"]).truth


def test_without_any_limit_the_floor_stands_in_and_without_a_floor_it_is_unknown(ask: Ask) -> None:
    assert "true" == ask(reading(signal="lactate", at_least={"uln_times": 2, "floor": 4}, within="PT24H"), ["0:00 lactate 4"]).truth  # fmt: skip
    assert "unknown" == ask(reading(signal="lactate", above={"uln_plus": 3}, within="PT24H"), ["0:00 lactate 9"]).truth


def test_a_threshold_over_base_is_unknown_while_the_base_is(ask: Ask) -> None:
    when = reading(signal="sbp", at_least={"base_plus": 40}, within="PT6H")

    assert "unknown" == ask(when, ["0:00 sbp 200"]).truth
    assert "true" == ask(when, ["0:00 sbp 140"], baseline={"sbp": 100}).truth


def test_without_a_supplied_base_a_vitals_is_the_median_of_the_hours_older_than_a_day(ask: Ask) -> None:
    when = reading(signal="sbp", at_least={"base_plus": 40}, within="PT6H")
    given = ["-30:00 sbp 100", "-29:00 sbp 110", "-28:00 sbp 120", "0:00 sbp 150"]

    assert "true" == ask(when, given).truth
    assert "false" == ask(when, [*given[:3], "0:00 sbp 149"]).truth


def test_without_a_supplied_base_a_laboratory_values_is_the_median_of_the_days_before(ask: Ask) -> None:
    when = reading(signal="lactate", at_least={"base_plus": 2}, within="PT6H")
    given = ["-50:00 lactate 1.0", "-30:00 lactate 2.0", "-10:00 hr 80"]

    assert "true" == ask(when, [*given, "0:00 lactate 3.5"]).truth
    assert "false" == ask(when, [*given, "0:00 lactate 3.4"]).truth
    assert "unknown" == ask(when, ["-10:00 lactate 1.0", "0:00 lactate 9"]).truth


def test_a_threshold_by_age_takes_the_adult_row_when_the_age_is_unknown(ask: Ask) -> None:
    when = reading(signal="hr", at_least={"by_age": "hr_hi"}, within="PT4H")

    assert ["true", "false", "false", "false"] == [
        ask(when, ["0:00 hr 110"], **patient).truth
        for patient in ({}, {"age_years": 8}, {"age_years": 3}, {"age_years": 0.5})
    ]


def test_every_reading_of_the_window_must_satisfy_and_there_must_be_enough(ask: Ask) -> None:
    when = reading(signal="map", below=65, within="PT15M", which="every", n=2)

    assert ("unknown", "0:15") == ask(when, ["0:00 map 60"])[:2]
    assert "true" == ask(when, ["0:00 map 60", "0:10 map 61"], "0:10").truth
    assert "false" == ask(when, ["0:00 map 60", "0:10 map 66"], "0:10").truth
    assert "unknown" == ask(when, ["0:00 map 60"], "0:15").truth
    assert "unknown" == ask(when, ["0:00 hr 60"]).truth


def test_a_mean_pressure_is_computed_only_where_none_was_measured(ask: Ask) -> None:
    when = reading(signal="map", below=65, within="PT15M", which="every", n=2, computed=True)
    computed = ["0:00 sbp 85", "0:00 dbp 45", "0:10 sbp 84", "0:10 dbp 45"]

    assert (("map", 58.3), ("map", 58.0)) == ask(when, computed, "0:10").cites
    assert "unknown" == ask(when, [*computed, "0:10 map 60"], "0:10").truth
    assert "unknown" == ask(when, ["0:00 sbp 85", "0:10 dbp 45"], "0:10").truth
    assert "unknown" == ask(when, ["0:00 sbp 85"]).truth


def test_every_over_base_is_unknown_while_the_base_is(ask: Ask) -> None:
    assert "unknown" == ask(reading(signal="sbp", below={"base_plus": -40}, within="PT1H", which="every"), ["0:00 sbp 60"]).truth  # fmt: skip


def test_no_reading_in_the_window_is_a_fact_of_its_own(ask: Ask) -> None:
    when = {"no_reading": {"signal": "ck", "within": "PT24H"}}

    assert "true" == ask(when, ["0:00 hr 80"]).truth
    assert ("false", "24:00") == ask(when, ["0:00 ck 100"])[:2]
    assert "true" == ask(when, ["0:00 ck 100"], "24:00").truth


def test_an_unknown_base_is_a_fact_of_its_own(ask: Ask) -> None:
    assert "true" == ask({"base_unknown": "sbp"}, ["0:00 sbp 120"]).truth
    assert "false" == ask({"base_unknown": "sbp"}, ["0:00 sbp 120"], baseline={"sbp": 100}).truth
