"""From an observation as it came to a reading, or the reason why not (guards G-1 and G-3); every outcome once."""

from typing import Any

import pytest

from detector.catalogue.signals import Named
from detector.clean import RANKS, REASONS, Refused, clean, kept_for, name_of
from detector.clock import DAY, HOUR
from detector.courses import PATIENT, ZERO
from detector.engine import Ward, run
from detector.events import Encounter, Observation
from detector.examples import run_examples
from detector.ledger import Ledger
from detector.plan import Plan
from pipelines.plan_files import plan_from_files


def observation(code: str, value: float | None, unit: str | None = None, **fields: Any) -> Observation:
    return Observation(
        **{
            "patient_id": PATIENT,
            "code": code,
            "value": value,
            "unit": unit,
            "effective_at": ZERO,
            "available_at": ZERO,
        }
        | fields
    )


def cleaned(plan: Plan, event: Observation, weight: float | None = None) -> Any:
    named = name_of(plan.catalogue, event)
    assert named is not None
    return clean(plan.catalogue, named, event, weight)


@pytest.mark.parametrize(
    ("code", "value", "unit", "expected"),
    [
        ("temp", 104.6, "[degF]", 40.33),
        ("temperature", 107, "Deg. F", 41.67),
        ("8310-5", 39.0, "?C", 39.0),
        ("creat", 186, "umol/L", 2.1),
        ("2157-6", 87.5, "ukat/L", 5250),
        ("cpk", 5250, "IU/L", 5250),
        ("platelets", 9, "K/uL", 9),
        ("plt", 9000, "/mm3", 9),
        ("sbp", 20, "kPa", 150.0),
        ("spo2", 0.97, "fraction", 97.0),
        ("temp", 39.0, None, 39.0),
    ],
)
def test_a_value_is_converted_and_rounded_to_the_precision_of_the_catalogue(
    plan: Plan, code: str, value: float, unit: str | None, expected: float
) -> None:
    _, reading = cleaned(plan, observation(code, value, unit))

    assert expected == reading.value


@pytest.mark.parametrize(
    ("code", "value", "unit", "reason"),
    [
        ("ck", None, "U/L", "no_value"),
        ("ck", 100, "mg/dL", "unknown_unit"),
        ("temp", 102.5, "Cel", "suspect_unit"),
        ("creat", 186, "mg/dL", "suspect_unit"),
        ("temp", 36.6, "[degF]", "suspect_unit"),
        ("temp", 2.6, "Cel", "implausible"),
        ("plt", 150_000, "K/uL", "suspect_unit"),
        ("wbc", 12_200, "10*9/L", "suspect_unit"),
        ("lactate", 54, "mmol/L", "suspect_unit"),
        ("bili", 85.5, "mg/dL", "suspect_unit"),
        ("fibrinogen", 2.4, "mg/dL", "suspect_unit"),
        ("temp", 46, "Cel", "implausible"),
        ("temp", 20, "Cel", "implausible"),
        ("ck", 500_001, "U/L", "implausible"),
        ("hr", 0, "/min", "implausible"),
        ("mas", 5, "{score}", "not_assessed"),
        ("uop", 0.2, "mL/kg/h", "needs_weight"),
    ],
)
def test_what_cannot_be_used_has_a_reason(plan: Plan, code: str, value: float | None, unit: str, reason: str) -> None:
    refused = cleaned(plan, observation(code, value, unit))

    assert isinstance(refused, Refused)
    assert reason == refused.reason


@pytest.mark.parametrize(("code", "value"), [("temp", 43.0), ("temp", 42.0), ("ck", 250_000), ("ck", 256_020)])
def test_what_other_tools_clip_is_plausible_here(plan: Plan, code: str, value: float) -> None:
    assert value == cleaned(plan, observation(code, value))[1].value


def test_an_unknown_code_has_no_name(plan: Plan) -> None:
    assert name_of(plan.catalogue, observation("fio2", 60)) is None


@pytest.mark.parametrize(
    ("code", "site", "expected"),
    [
        ("8310-5", None, "unknown"),
        ("8310-5", "Rectal", "rectal"),
        ("8310-5", "307047009", "rectal"),
        ("8310-5", "left foot", "unknown"),
        ("39106-0", "rectal", "skin"),
        ("8332-9", None, "rectal"),
        ("hr", "rectal", None),
    ],
)
def test_a_site_of_its_own_wins_over_an_unspecific_code_only(
    plan: Plan, code: str, site: str | None, expected: str | None
) -> None:
    named = name_of(plan.catalogue, observation(code, 37, site=site))

    assert named is not None
    assert expected == named.site


def test_a_weight_makes_a_rate_per_kilogram_a_rate(plan: Plan) -> None:
    assert ("uop", 35.0) == ((found := cleaned(plan, observation("uop", 0.5, "mL/kg/h"), 70))[0], found[1].value)


def test_millilitres_charted_as_urine_output_are_a_volume(plan: Plan) -> None:
    assert ("urine_volume", 300.0) == ((found := cleaned(plan, observation("uop", 300, "mL")))[0], found[1].value)


def test_the_laboratorys_own_limit_is_converted_like_the_value(plan: Plan) -> None:
    _, reading = cleaned(
        plan, observation("ck", 87.5, "ukat/L", reference_high=3.9, flags=("hemolyzed",), source="lab")
    )

    assert (234.0, ("hemolyzed",), "lab") == (reading.meta.reference_high, reading.meta.flags, reading.meta.source)


@pytest.mark.parametrize("high", [0.0, -1.0])
def test_a_limit_that_is_not_above_nought_is_how_a_laboratory_writes_that_it_has_none(plan: Plan, high: float) -> None:
    _, reading = cleaned(plan, observation("ast", 22, "U/L", reference_high=high))

    assert reading.meta.reference_high is None
    course = ["0:00 ck 1500", f"0:00 ast 22 uln={high:g}", "0:00 temp 40.3"]
    for rule in ("R-12", "C-14"):  # ten times nought is true of any value
        expected = {"name": "no range", "given": course, "expect": {"0:00": False}}
        assert [] == [line for line in run_examples(plan, rule, [expected]) if "is true" in line]


def test_a_reading_charted_ahead_counts_from_when_it_was_available(plan: Plan) -> None:
    _, reading = cleaned(plan, observation("temp", 39, effective_at=ZERO + HOUR))

    assert (ZERO, ZERO + HOUR) == (reading.at, reading.effective_at)


def test_vitals_are_kept_a_day_and_laboratory_values_a_week(plan: Plan) -> None:
    signals = plan.catalogue.signals

    assert (DAY, 7 * DAY) == (kept_for(signals["temp"], plan.catalogue), kept_for(signals["ck"], plan.catalogue))


# --- the outcomes that need a history, counted by the engine ----------------------------------------------------------


def outcomes(plan: Plan, *events: Observation) -> list[str]:
    ledger = Ledger()
    admitted = Encounter(patient_id=PATIENT, stay_id="s", event="admitted", at=ZERO - 5 * DAY, available_at=ZERO - HOUR)
    ward = Ward(plan)
    told = []
    for event in (admitted, *events):
        before = ledger.counts.copy()
        run(plan, ward, [event], ledger=ledger)
        told += [key[-1] for key in ledger.counts - before if key[0] == "observations_total"]
    assert set(told) <= set(REASONS)
    return told


def test_the_same_observation_again_changes_nothing(plan: Plan) -> None:
    event = observation("ck", 100)

    assert ["accepted", "duplicate"] == outcomes(plan, event, event)
    named = observation("ck", 100, observation_id="a")
    assert ["accepted", "duplicate"] == outcomes(plan, named, named)


def test_a_correction_replaces_the_reading_of_its_id(plan: Plan) -> None:
    told = outcomes(
        plan,
        observation("ck", 100, observation_id="a", status="preliminary"),
        observation("ck", 5000, observation_id="a", status="corrected"),
        observation("ck", 300, observation_id="a", status="final"),
    )

    assert ["accepted", "corrected", "superseded"] == told


def test_a_correction_without_an_id_needs_exactly_one_reading_there(plan: Plan) -> None:
    one, other = observation("ck", 100), observation("ck", 110, source="b")
    better = observation("ck", 200, status="corrected")

    assert ["accepted", "corrected", "duplicate"] == outcomes(plan, one, better, better)
    assert ["ambiguous_correction"] == outcomes(plan, better)
    assert ["accepted", "accepted", "ambiguous_correction"] == outcomes(plan, one, other, better)


def test_what_was_entered_in_error_goes_even_if_it_arrives_later(plan: Plan) -> None:
    one = observation("ck", 100, observation_id="a")
    gone = observation("ck", None, observation_id="a", status="entered-in-error")

    assert ["accepted", "removed", "duplicate"] == outcomes(plan, one, gone, gone)
    assert ["removed", "superseded"] == outcomes(plan, gone, one)


def test_what_was_entered_in_error_without_an_id_must_be_the_only_one(plan: Plan) -> None:
    gone = observation("ck", None, status="cancelled")

    assert ["accepted", "removed"] == outcomes(plan, observation("ck", 100), gone)
    assert ["ambiguous_correction"] == outcomes(plan, gone)


@pytest.mark.parametrize(
    ("code", "hours", "outcome"),
    [("temp", 24, "accepted"), ("temp", 24.1, "late"), ("ck", 72, "accepted"), ("ck", 72.1, "late")],
)
def test_a_reading_beyond_its_late_limit_is_kept_out(plan: Plan, code: str, hours: float, outcome: str) -> None:
    assert [outcome] == outcomes(plan, observation(code, 40, effective_at=ZERO - round(hours * HOUR)))


@pytest.mark.parametrize(("minutes", "outcome"), [(90, "accepted"), (91, "future")])
def test_a_reading_more_than_90_minutes_ahead_is_quarantined(plan: Plan, minutes: int, outcome: str) -> None:
    assert [outcome] == outcomes(plan, observation("temp", 37, effective_at=ZERO + minutes * 60_000))


def test_the_ranks_put_a_withdrawal_over_a_correction_over_a_final_over_a_preliminary() -> None:
    assert RANKS["preliminary"] < RANKS["final"] < RANKS["corrected"] < RANKS["entered-in-error"]


def test_a_site_that_tags_fahrenheit_as_celsius_may_say_so() -> None:
    trusting = plan_from_files(convert_suspects=frozenset({"[degF]"}))

    assert cleaned(trusting, observation("temp", 104.0, "Cel"))[1].value == 40.0


def test_a_site_code_brings_its_own_unit() -> None:
    mapped = plan_from_files(code_map={"LAB1": Named("creat", None, "umol/L")})

    signal, reading = cleaned(mapped, observation("LAB1", 88.42, None))

    assert ("creat", 1.0) == (signal, reading.value)
