"""Questions about how a signal moved."""

from typing import Any

from tests.detector.rules.conftest import Ask

RISE = {"rise": {"signal": "temp", "by": 1.5, "to": 38.5, "within": "PT6H", "apart": "PT30M", "sites_not": ["skin"]}}
FALL = {"fall": {"signal": "plt", "fraction": 0.5, "within": "PT72H", "flags_not": ["clumped"]}}
RANGE = {"range": {"signal": "sbp", "at_least": 60, "within": "PT6H"}}
SWING = {"swing": {"signal": "hr", "from_at_least": 110, "to_at_most": 45, "apart": "PT2H", "within": "PT6H"}}


def grows(**words: Any) -> dict[str, Any]:
    return {"grows": {"signal": "ck", "apart": ["PT4H", "PT72H"], "recent": "PT24H"} | words}


def test_a_rise_needs_height_and_distance(ask: Ask) -> None:
    assert "true" == ask(RISE, ["0:00 temp 37.0", "5:59 temp 38.5"], "5:59").truth
    assert "false" == ask(RISE, ["0:00 temp 37.0", "6:00 temp 38.5"], "6:00").truth
    assert "false" == ask(RISE, ["0:00 temp 37.1", "5:00 temp 38.5"], "5:00").truth
    assert "false" == ask(RISE, ["0:00 temp 36.9", "5:00 temp 38.4"], "5:00").truth
    assert "false" == ask(RISE, ["0:00 temp 37.0", "0:29 temp 38.5"], "0:29").truth
    assert "unknown" == ask(RISE, ["0:00 hr 80"]).truth


def test_a_rise_stands_until_its_lower_reading_leaves(ask: Ask) -> None:
    found = ask(RISE, ["0:00 temp 37.0", "2:00 temp 38.6"], "2:00")

    assert ("true", "6:00", (None, "up 1.60 in 2.0 h")) == (found.truth, found.until, found.changes)


def test_a_rise_compares_one_site_and_never_skin(ask: Ask) -> None:
    assert "false" == ask(RISE, ["0:00 temp 36.0 site=oral", "2:00 temp 39.0 site=rectal"], "2:00").truth
    assert "false" == ask(RISE, ["0:00 temp 36.0 site=skin", "2:00 temp 39.0 site=skin"], "2:00").truth


def test_a_fall_is_from_the_highest_before_it(ask: Ask) -> None:
    found = ask(FALL, ["0:00 plt 200", "10:00 plt 300", "20:00 plt 150"], "20:00")

    assert ("true", (("plt", 300.0), ("plt", 150.0))) == (found.truth, found.cites)
    assert "down 50 % in 10.0 h" == found.changes[1]
    assert "false" == ask(FALL, ["0:00 plt 300", "20:00 plt 151"], "20:00").truth
    assert "false" == ask(FALL, ["0:00 plt 100", "20:00 plt 300"], "20:00").truth
    assert "unknown" == ask(FALL, ["0:00 hr 80"]).truth


def test_a_clumped_count_makes_no_fall(ask: Ask) -> None:
    assert "false" == ask(FALL, ["0:00 plt 300", "20:00 plt 100 flags=clumped"], "20:00").truth


def test_a_range_is_highest_minus_lowest(ask: Ask) -> None:
    found = ask(RANGE, ["0:00 sbp 100", "1:00 sbp 160"], "1:00")

    assert ("true", "6:00", "range 60 in 6 h") == (found.truth, found.until, found.changes[1])
    assert "false" == ask(RANGE, ["0:00 sbp 100", "1:00 sbp 159"], "1:00").truth
    assert "unknown" == ask(RANGE, ["0:00 hr 80"]).truth


def test_a_swing_is_a_crash_after_a_height_within_its_time(ask: Ask) -> None:
    assert "true" == ask(SWING, ["0:00 hr 110", "2:00 hr 45"], "2:00").truth
    assert "false" == ask(SWING, ["0:00 hr 110", "2:01 hr 45"], "2:01").truth
    assert "false" == ask(SWING, ["0:00 hr 45", "1:00 hr 110"], "1:00").truth
    assert "unknown" == ask(SWING, ["0:00 temp 37"]).truth


def test_growth_by_ratio_needs_two_samples_that_far_apart(ask: Ask) -> None:
    assert "true" == ask(grows(ratio=2.0), ["0:00 ck 300", "4:00 ck 600"], "4:00").truth
    assert "false" == ask(grows(ratio=2.0), ["0:00 ck 300", "4:00 ck 599"], "4:00").truth
    assert "unknown" == ask(grows(ratio=2.0), ["0:00 ck 300", "3:59 ck 900"], "3:59").truth
    assert "unknown" == ask(grows(ratio=2.0), ["0:00 ck 300", "60:00 hr 80", "73:00 ck 900"], "73:00").truth
    assert "true" == ask(grows(ratio=2.0), ["0:00 ck 300", "60:00 hr 80", "72:00 ck 900"], "72:00").truth
    assert "unknown" == ask(grows(ratio=2.0), ["0:00 hr 80"]).truth


def test_growth_by_doubling_time_is_exact_at_its_edge(ask: Ask) -> None:
    doubling = grows(doubling_within="PT36H", at_least=1000)

    assert "true" == ask(doubling, ["0:00 ck 1000", "30:00 hr 80", "36:00 ck 2000"], "36:00").truth
    assert "false" == ask(doubling, ["0:00 ck 1000", "30:00 hr 80", "36:00 ck 1999"], "36:00").truth
    assert "false" == ask(doubling, ["0:00 ck 100", "10:00 ck 900"], "10:00").truth
    assert "false" == ask(doubling, ["0:00 ck 0", "10:00 ck 1900"], "10:00").truth


def test_growth_above_the_upper_limit_needs_a_limit_that_is_passed(ask: Ask) -> None:
    above = grows(ratio=2.0, above_uln=True)

    assert "true" == ask(above, ["0:00 ck 100", "5:00 ck 240 uln=235"], "5:00").truth
    assert "false" == ask(above, ["0:00 ck 100", "5:00 ck 235 uln=235"], "5:00").truth


def test_a_response_is_a_fall_from_the_newest_value_before_the_event(ask: Ask) -> None:
    when = {"responded": {"signal": "temp", "by": 1.0, "only_from": 38.0, "before": "PT6H", "pump": ["restored"]}}
    before = ["-1:00 temp 39.0", "0:00 pump restored"]

    assert "true" == ask(when, [*before, "5:00 temp 38.0"], "5:00").truth
    assert "false" == ask(when, [*before, "5:00 temp 38.1"], "5:00").truth
    assert "unknown" == ask(when, before, "1:00").truth
    assert "unknown" == ask(when, ["-7:00 temp 39", "0:00 pump restored", "1:00 temp 37"], "1:00").truth
    assert "unknown" == ask(when, ["-1:00 temp 39.0"]).truth
    assert "unknown" == ask(when, ["0:00 pump restored"]).truth
    assert "true" == ask(when, ["-1:00 temp 37.9", "0:00 pump restored", "5:00 temp 37.9"], "5:00").truth


def test_nothing_falls_from_zero(ask: Ask) -> None:
    assert "false" == ask(FALL, ["0:00 plt 0", "1:00 plt 0"], "1:00").truth
