"""Window operators as a model sees them: on irregular data, and absent where nothing is known."""

import pytest

from detector.catalogue.strict import Problems
from detector.clock import DAY, HOUR
from detector.courses import PATIENT, Bed, instant, read_course
from detector.features import OPERATORS, Feature, feature_row
from detector.plan import Plan
from detector.rules.view import View

GIVEN = ["0:00 ck 1000", "6:00 ck 500", "12:00 ck 4000", "18:00 ck 2000", "18:00 temp 38"]


def row(plan: Plan, given: list[str], *features: Feature, at: str = "18:00") -> dict[str, float]:
    bed = Bed(plan, read_course(plan.catalogue, {}, [("", line) for line in given], "$", Problems("")))
    bed.until(instant(at))
    patient = bed.ward.patients[PATIENT]
    found = feature_row(features, View(plan.catalogue, plan.book.masks, {}, patient, instant(at)))
    assert (PATIENT, instant(at)) == (found.patient_id, found.at)
    return dict(found.values)


@pytest.mark.parametrize(
    ("operator", "value"),
    [("last", 2000), ("min", 500), ("max", 4000), ("range", 3500), ("count", 4), ("mean", 1875), ("fold_change", 2),
     ("doublings_per_day", 24 / 18), ("fall", 0.5), ("slope", 108.33333333333333)],
)  # fmt: skip
def test_an_operator_over_a_day(plan: Plan, operator: str, value: float) -> None:
    assert {f"ck_{operator}_24h": pytest.approx(value)} == row(plan, GIVEN, Feature("ck", operator, DAY))


@pytest.mark.parametrize("operator", sorted(OPERATORS))
def test_what_is_not_known_is_absent_and_never_zero(plan: Plan, operator: str) -> None:
    assert {} == row(plan, ["0:00 hr 80"], Feature("ck", operator, DAY))
    empty = row(plan, ["0:00 ck 100", "18:00 hr 80"], Feature("ck", operator, HOUR))
    assert ({"ck_count_1h": 0.0} if operator == "count" else {}) == empty


@pytest.mark.parametrize("operator", ["slope", "fold_change", "doublings_per_day"])
def test_a_trend_needs_two_readings(plan: Plan, operator: str) -> None:
    assert {} == row(plan, ["18:00 ck 100"], Feature("ck", operator, DAY))


def test_a_trend_over_one_instant_or_from_zero_is_not_known(plan: Plan) -> None:
    both = ["18:00 ck 100", "18:00 ck 200"]

    assert {} == row(plan, both, Feature("ck", "slope", DAY), Feature("ck", "doublings_per_day", DAY))
    assert {} == row(plan, ["0:00 ck 0", "18:00 ck 200"], Feature("ck", "fold_change", DAY))
    assert {} == row(plan, ["18:00 ck 0"], Feature("ck", "fall", DAY))
