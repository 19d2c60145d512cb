"""Window operators as a model sees them: on irregular data, and absent where nothing is known."""

import random

import pytest
from msgspec import structs

from detector.catalogue.strict import Problems
from detector.clock import DAY, HOUR
from detector.courses import PATIENT, Bed, instant, read_course
from detector.features import OPERATORS, Feature, columns, feature_row
from detector.plan import Plan
from detector.rules.view import View

GIVEN = ["0:00 ck 1000", "6:00 ck 500", "12:00 ck 4000", "18:00 ck 2000", "18:00 temp 38"]


def row(
    plan: Plan, given: list[str], *features: Feature, at: str = "18:00", about: dict[str, object] | None = None
) -> dict[str, float]:
    bed = Bed(plan, read_course(plan.catalogue, about or {}, [("", line) for line in given], "$", Problems("")))
    bed.until(instant(at))
    patient = bed.ward.patients[PATIENT]
    view = View(plan.catalogue, plan.book.masks, {}, patient, instant(at))
    found = feature_row(structs.replace(plan, features=features, columns=columns(features)), view)
    assert (PATIENT, instant(at)) == (found.patient_id, found.at)
    return dict(found.values)


@pytest.mark.parametrize(
    ("operator", "value"),
    [("last", 2000), ("min", 500), ("max", 4000), ("range", 3500), ("count", 4), ("mean", 1875), ("fold_change", 2),
     ("doublings_per_day", 24 / 18), ("doubling_time", 18), ("fall", 0.5), ("slope", 108.33333333333333)],
)  # fmt: skip
def test_an_operator_over_a_day(plan: Plan, operator: str, value: float) -> None:
    assert {f"ck_{operator}_24h": pytest.approx(value)} == row(plan, GIVEN, Feature("ck", operator, DAY))


@pytest.mark.parametrize("operator", sorted(OPERATORS))
def test_what_is_not_known_is_absent_and_never_zero(plan: Plan, operator: str) -> None:
    assert {} == row(plan, ["0:00 hr 80"], Feature("ck", operator, DAY))
    empty = row(plan, ["0:00 ck 100", "18:00 hr 80"], Feature("ck", operator, HOUR))
    assert ({"ck_count_1h": 0.0} if operator == "count" else {}) == empty


@pytest.mark.parametrize("operator", ["slope", "fold_change", "doubling_time", "doublings_per_day"])
def test_a_trend_needs_two_readings(plan: Plan, operator: str) -> None:
    assert {} == row(plan, ["18:00 ck 100"], Feature("ck", operator, DAY))


def test_a_trend_over_one_instant_or_from_zero_is_not_known(plan: Plan) -> None:
    both = ["18:00 ck 100", "18:00 ck 200"]

    assert {} == row(plan, both, Feature("ck", "slope", DAY), Feature("ck", "doublings_per_day", DAY))
    assert {} == row(plan, ["0:00 ck 0", "18:00 ck 200"], Feature("ck", "fold_change", DAY))
    assert {} == row(plan, ["18:00 ck 0"], Feature("ck", "fall", DAY))


def test_only_a_rising_value_has_a_doubling_time(plan: Plan) -> None:
    assert {} == row(plan, ["0:00 ck 1000", "18:00 ck 900"], Feature("ck", "doubling_time", DAY))


@pytest.mark.parametrize(
    ("operator", "value"), [("rise_from_baseline", -120), ("fall_from_baseline", 0.6), ("fold_of_baseline", 0.4)]
)
def test_against_the_baseline_that_was_supplied(plan: Plan, operator: str, value: float) -> None:
    given, feature = ["18:00 plt 80"], Feature("plt", operator, DAY)

    assert {f"plt_{operator}_24h": pytest.approx(value)} == row(plan, given, feature, about={"baseline": {"plt": 200}})
    assert {} == row(plan, given, feature)


@pytest.mark.parametrize(
    ("operator", "value"),
    [("last", 90), ("min", 60), ("max", 100), ("range", 40), ("count", 4), ("mean", 75), ("fold_change", 90 / 70),
     ("fall", 0.1)],
)  # fmt: skip
def test_a_window_older_than_a_day_reads_the_summaries_of_vitals(plan: Plan, operator: str, value: float) -> None:
    """The hours of 60, 70 and 100 are summarised by then: their median, 70, stands for each of the three in a mean."""
    given = ["0:01 hr 60", "0:02 hr 70", "0:03 hr 100", "30:00 hr 90"]
    within = Feature("hr", operator, 2 * DAY)

    assert {f"hr_{operator}_48h": pytest.approx(value)} == row(plan, given, within, at="30:00")


@pytest.mark.parametrize("seed", range(12))
def test_a_short_window_read_at_once_says_what_its_operators_say(
    plan: Plan, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = random.Random(seed)
    given = [
        f"{hour}:{minute:02d} {signal} {draw.uniform(*limits):.1f}"
        for hour in range(40)
        for signal, limits in (("hr", (50, 160)), ("temp", (36, 41)))
        for minute in sorted(draw.sample(range(60), draw.choice([0, 1, 2, 6])))
    ]
    asked = [Feature(signal, name, hours * HOUR) for signal in ("hr", "temp") for name in OPERATORS for hours in (1, 4, 12, 36)]  # fmt: skip

    at_once = row(plan, given, *asked, at="40:00")
    monkeypatch.setattr("detector.features.AT_ONCE", {})

    assert row(plan, given, *asked, at="40:00") == at_once
    assert {"hr_mean_4h", "temp_last_12h", "hr_range_36h"} <= set(at_once)
