"""Questions about other rules: now, some time ago, for how long, how often. The past is what was known then."""

from typing import Any

from tests.detector.rules.conftest import Ask

TONE = "0:00 context spasticity noted"
GONE = {"baseline": {"mas": 2}}


def test_a_rule_lends_its_answer_and_its_evidence(ask: Ask) -> None:
    found = ask({"rule": "W-03"}, [TONE])

    assert ("true", "never", ("spasticity noted",)) == (found.truth, found.until, found.changes)
    assert ("unknown", ()) == ((other := ask({"rule": "W-03"}, ["0:00 temp 37"])).truth, other.cites)


def was(ask: Ask, given: list[str], at: str, **patient: Any) -> str:
    return ask({"was": {"rule": ["W-03"], "within": "PT24H"}}, given, at, **patient).truth


def test_a_rule_was_true_until_the_window_after_its_end_is_over(ask: Ask) -> None:
    given = [TONE, "11:00 mas 2", "30:00 mas 2"]

    assert "true" == was(ask, given, "0:00", **GONE)
    assert "true" == was(ask, given, "12:00", **GONE)
    assert "true" == was(ask, given, "35:59", **GONE)
    assert "false" == was(ask, given, "36:00", **GONE)
    assert "false" == was(ask, ["0:00 mas 2"], "0:00", **GONE)


def test_what_became_known_late_was_not_true_then(ask: Ask) -> None:
    late = ["0:00 mas 2", "0:00 context spasticity noted arrives=13:00", "13:00 mas 2"]

    assert "false" == was(ask, late, "13:00", **GONE)


def test_a_rule_held_for_less_than_a_time(ask: Ask) -> None:
    when = {"held": {"rule": "W-03", "less_than": "PT3H"}}
    given = ["0:00 temp 37", "1:00 context spasticity noted"]

    assert "unknown" == ask(when, given, "0:00").truth
    assert ("true", "4:00") == ask(when, given, "1:00")[:2]
    assert "true" == ask(when, given, "3:59").truth
    assert "false" == ask(when, given, "4:00").truth


def test_a_rule_began_so_many_times(ask: Ask) -> None:
    when = {"began": {"rule": "W-03", "times": 2, "within": "PT24H"}}
    given = ["0:00 mas 3", "1:00 context sedation started", "2:00 context sedation stopped", "3:00 mas 3"]

    assert "false" == ask(when, given, "0:00", **GONE).truth
    assert "false" == ask(when, given, "1:00", **GONE).truth
    assert ("true", "24:00") == ask(when, given, "2:00", **GONE)[:2]
    assert "true" == ask(when, given, "3:00", **GONE).truth
