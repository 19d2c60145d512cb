"""An overlay changes thresholds and severities of named rules, and nothing else; every mistake is told at once."""

from copy import deepcopy
from typing import Any

import pytest

from detector.errors import ConfigError
from detector.records import Severity
from detector.rules.overlay import Overlay, overlaid, read_overlay, settable
from pipelines.plan_files import plan_from_files, read_catalogue

RULES = read_catalogue()[1]
NOW = settable(RULES["S-01.yaml"])
WARNS = NOW["escalate[0].when.all[0].score.at_least"]
SCORE = {
    "rule": "S-01",
    "key": "escalate[0].when.all[0].score.at_least",
    "from": WARNS,
    "to": 0.99,
    "because": "budget",
}
CK = {"rule": "W-05", "key": "severity", "from": "warning", "to": "watch", "because": "CK alone"}
FEVER = {
    "definition": "fever-38.5-in-24h", "key": "when.any[0].reading.at_least", "from": 38.5, "to": 38.7, "because": "warm",
}  # fmt: skip


def overlay(*changes: dict[str, Any], **others: Any) -> Overlay:
    data = {"overlay": 1, "title": "t", "because": "b", "changes": list(changes)} | others
    return read_overlay(data, "site.yaml", RULES)


def mistakes(*changes: dict[str, Any], **others: Any) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as refused:
        overlay(*changes, **others)
    return refused.value.problems


def test_named_values_are_replaced_and_nothing_else() -> None:
    before = deepcopy(RULES)
    changed = overlaid(RULES, overlay(SCORE, CK, FEVER))

    assert RULES == before
    assert changed["S-01.yaml"]["escalate"][0]["when"]["all"][0]["score"]["at_least"] == 0.99
    assert changed["W-05.yaml"]["severity"] == "watch"
    changed["S-01.yaml"]["escalate"][0]["when"]["all"][0]["score"]["at_least"] = WARNS
    changed["W-05.yaml"]["severity"] = "warning"
    changed["definitions.yaml"]["definitions"]["fever-38.5-in-24h"]["when"]["any"][0]["reading"]["at_least"] = 38.5
    assert changed == RULES


def test_thresholds_and_severities_can_be_set_and_steps_points_texts_and_durations_cannot() -> None:
    steps = range(len(RULES["S-01.yaml"]["escalate"]))
    expected = [key for n in steps for key in (f"escalate[{n}].to", f"escalate[{n}].when.all[0].score.at_least")]

    assert list(NOW) == ["severity", "when.score.at_least", *expected]
    for name, rule in RULES.items():
        for key, value in settable(rule).items():
            assert "examples" not in key, name
            assert not isinstance(value, str) or value in ("info", "watch", "warning", "critical"), name


def test_every_mistake_is_named_at_once_with_path_value_expectation_and_nearest_name() -> None:
    found = mistakes(
        SCORE | {"rule": "S-1"},
        SCORE | {"key": "when.score.at_lest"},
        SCORE | {"from": 0.123},
        SCORE | {"to": "high"},
        SCORE | {"to": float("nan"), "key": "when.score.at_least", "from": NOW["when.score.at_least"]},
        CK | {"to": "wach"},
        CK | {"because": " "},
        FEVER | {"definition": "fever-38.6-in-24h"},
        FEVER | {"rule": "W-05"},
        overlay=2,
        titel="x",
    )
    told = {line.removeprefix("site.yaml ").split(": ", 1)[0]: line for line in found}

    assert "did you mean 'title'?" in told["$.titel"]
    assert "expected 1" in told["$.overlay"]
    assert "'S-1' is not a rule; did you mean 'S-01'?" in told["$.changes[0].rule"]
    assert "did you mean 'when.score.at_least'?" in told["$.changes[1].key"]
    assert f"S-01 says {WARNS} now" in told["$.changes[2].from"]
    assert "'high': expected a number" in told["$.changes[3].to"]
    assert "nan: expected a number" in told["$.changes[4].to"]
    assert "'wach': expected one of info, watch, warning, critical; did you mean 'watch'?" in told["$.changes[5].to"]
    assert "expected why" in told["$.changes[6].because"]
    assert "is not a definition; did you mean 'fever-38.5-in-24h'?" in told["$.changes[7].definition"]
    assert "exactly one of rule, definition" in told["$.changes[8]"]
    assert "is changed by $.changes[0] already" in mistakes(SCORE, SCORE)[0]
    assert "expected" in mistakes(SCORE, changes="none")[0]


def test_the_plan_asks_what_the_overlay_says_and_its_digest_tells(tmp_path) -> None:
    path = tmp_path / "site.yaml"
    path.write_text(
        "overlay: 1\ntitle: t\nbecause: b\nchanges:\n- {rule: W-05, key: severity, from: warning, to: watch, because: b}\n"
    )
    plain, changed = plan_from_files(), plan_from_files(overlay=path)

    assert plain.book.rules["W-05"].severity == Severity.WARNING
    assert changed.book.rules["W-05"].severity == Severity.WATCH
    assert plain.digest != changed.digest
    path.write_text("overlay: 1\ntitle: t\nbecause: b\nchanges: []\n")
    assert plan_from_files(overlay=path).digest == plain.digest


def test_a_value_that_the_rule_cannot_take_is_refused_and_the_overlay_named(tmp_path) -> None:
    path = tmp_path / "site.yaml"
    change = "{rule: R-11, key: 'when.all[0].kidney_injury.stage', from: 1, to: 1.5, because: b}"
    path.write_text(f"overlay: 1\ntitle: t\nbecause: b\nchanges:\n- {change}\n")

    with pytest.raises(ConfigError) as refused:
        plan_from_files(overlay=path)
    assert str(path) in refused.value.problems[0]
    assert "R-11.yaml $.when.all[0].kidney_injury.stage" in refused.value.problems[1]
