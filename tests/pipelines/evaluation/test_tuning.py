"""Thresholds that keep a budget: what is tried, what is chosen, and what is said when nothing keeps it."""

from __future__ import annotations

from typing import Any

import pytest

from detector.rules.overlay import Overlay, overlaid, settable
from pipelines.evaluation.tuning import ONE_AXIS, RULE, TRIED, WARNS, Tuned, candidate, tune
from pipelines.plan_files import read_catalogue

RULES: dict[str, Any] = read_catalogue()[1]
ABOUT = {"title": "t", "because": "b"}


def threshold(overlay: Overlay) -> float:
    """From which score S-01 warns under an overlay."""
    return float(settable(overlaid(RULES, overlay)[f"{RULE}.yaml"])[WARNS])


def softer(overlay: Overlay) -> bool:
    return {one.rule for one in overlay.changes if one.key == "severity"} == set(ONE_AXIS)


def tuned_to(budget: float, of_rules: float = 0.0, of_one_axis: float = 0.0) -> Tuned:
    """Tuned on a ward where a threshold t makes 10 (1 - t) warnings, beside those of the rules."""

    def burden(overlay: Overlay) -> float:
        return 10 * (1 - threshold(overlay)) + of_rules + (0.0 if softer(overlay) else of_one_axis)

    return tune(RULES, budget, burden, **ABOUT)


@pytest.mark.parametrize("budget", [0.5, 1.0, 2.0, 3.3])
def test_the_most_sensitive_threshold_within_the_budget_is_chosen(budget: float) -> None:
    tuned = tuned_to(budget)

    assert tuned.keeps
    assert min(t for t in TRIED if 10 * (1 - t) <= budget) == threshold(tuned.overlay)
    assert tuned.burden <= budget
    assert not softer(tuned.overlay)


def test_rules_of_one_laboratory_axis_become_a_watch_only_where_no_threshold_keeps_the_budget() -> None:
    tuned = tuned_to(1.0, of_rules=0.2, of_one_axis=1.5)

    assert tuned.keeps
    assert softer(tuned.overlay)
    assert min(t for t in TRIED if 10 * (1 - t) + 0.2 <= 1.0) == threshold(tuned.overlay)


def test_a_budget_that_the_rules_alone_exceed_is_said_and_the_closest_comes_back() -> None:
    tuned = tuned_to(1.0, of_rules=4.0)

    assert not tuned.keeps
    assert TRIED[-1] == threshold(tuned.overlay)
    assert tuned.burden > 4.0
    assert not softer(tuned.overlay)


def test_where_nothing_keeps_the_budget_nothing_is_given_up_that_saves_no_warning() -> None:
    def burden(overlay: Overlay) -> float:
        return 4.0 + (1.0 if threshold(overlay) < 0.82 else 0.0)

    tuned = tune(RULES, 1.0, burden, **ABOUT)

    assert not tuned.keeps
    assert (0.82, 4.0) == (threshold(tuned.overlay), tuned.burden)
    assert not softer(tuned.overlay)


def test_few_replays_are_needed() -> None:
    assert len(tuned_to(1.0).tried) <= 1 + len(TRIED).bit_length()
    assert len(tuned_to(1.0, of_rules=0.2, of_one_axis=1.5).tried) <= 2 + len(TRIED).bit_length()
    assert len(tuned_to(1.0, of_rules=4.0).tried) <= 2 + len(TRIED).bit_length()


@pytest.mark.parametrize("warns", TRIED)
def test_thresholds_keep_their_order_and_a_watch_never_comes_later_than_shipped(warns: float) -> None:
    rule = settable(overlaid(RULES, candidate(RULES, warns, softer=False, **ABOUT))[f"{RULE}.yaml"])
    watch, warning, unexplained, unstable, critical = (
        float(rule[key])
        for key in ("when.score.at_least", WARNS, *(f"escalate[{k}].when.all[0].score.at_least" for k in (1, 2, 3)))
    )

    assert watch <= unexplained <= warning <= unstable <= critical < 1
    assert watch <= float(settable(RULES[f"{RULE}.yaml"])["when.score.at_least"])


def test_the_shipped_threshold_changes_nothing() -> None:
    shipped = float(settable(RULES[f"{RULE}.yaml"])[WARNS])

    assert () == candidate(RULES, shipped, softer=False, **ABOUT).changes
