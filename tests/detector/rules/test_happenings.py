"""Questions about pump events, treatments, notes and conditions."""

import pytest

from detector.catalogue.strict import Problems
from detector.courses import PATIENT, Bed, instant, read_course
from detector.plan import Plan
from detector.rules.happenings import pump_status
from detector.rules.view import View
from tests.detector.rules.conftest import Ask

HERE = "0:00 temp 37"
NOBODY_SAID = {"pump": "unknown"}


@pytest.mark.parametrize(
    ("given", "status"),
    [
        ([], "unknown"),
        (["0:00 pump implanted"], "present"),
        (["0:00 pump alarm level=critical"], "present"),
        (["0:00 pump surgery"], "unknown"),
        (["0:00 pump absent"], "absent"),
        (["0:00 pump implanted", "0:10 pump explanted"], "explanted"),
        (["0:00 pump explanted", "0:10 pump interrogated"], "explanted"),
        (["0:00 pump explanted", "0:10 pump implanted"], "present"),
        (["0:00 pump absent", "0:10 pump refilled"], "present"),
        (["9:00 pump explanted arrives=0:00"], "unknown"),
    ],
)
def test_what_is_known_of_a_pump(plan: Plan, given: list[str], status: str) -> None:
    lines = [("", line) for line in ["0:00 temp 37", *given]]
    bed = Bed(plan, read_course(plan.catalogue, NOBODY_SAID, lines, "$", Problems("")))
    bed.until(instant("0:10"))
    patient = bed.ward.patients[PATIENT]

    assert status == pump_status(View(plan.catalogue, plan.book.masks, {}, patient, patient.now))
    complete = {"pump_register_complete": True}
    whole = pump_status(View(plan.catalogue, plan.book.masks, complete, patient, patient.now))
    assert whole == ("absent" if status == "unknown" else status)


def test_a_status_is_unknown_until_something_is_known(ask: Ask) -> None:
    assert "unknown" == ask({"pump_status": ["present"]}, [HERE], **NOBODY_SAID).truth
    assert "true" == ask({"pump_status": ["unknown"]}, [HERE], **NOBODY_SAID).truth
    assert "false" == ask({"pump_status": ["present"]}, [HERE], pump="absent").truth
    assert "true" == ask({"pump_status": ["present", "absent"]}, [HERE], pump="absent").truth


def test_a_pump_event_counts_inside_its_window_with_its_details(ask: Ask) -> None:
    when = {"pump": {"event": ["alarm"], "level": "critical", "within": "PT72H"}}
    stall = {"pump": {"event": ["alarm"], "reason": ["motor_stall"]}}
    alarm = "0:00 pump alarm level=critical reason=motor_stall"

    assert ("true", "72:00", ("alarm critical motor_stall",)) == (
        (found := ask(when, [HERE, alarm])).truth, found.until, found.changes
    )  # fmt: skip
    assert "false" == ask(when, [alarm, "40:00 temp 37"], "72:00").truth
    assert "false" == ask(when, [HERE, "0:00 pump alarm level=noncritical"]).truth
    assert ("true", "never") == ask(stall, [alarm])[:2]
    assert "false" == ask(stall, ["0:00 pump alarm level=critical reason=eri"]).truth


def test_without_any_device_event_there_is_no_device_feed(ask: Ask) -> None:
    when = {"pump": {"event": ["alarm"], "within": "PT72H"}}

    assert "unknown" == ask(when, [HERE]).truth
    assert "false" == ask(when, ["0:00 pump interrogated result=ok"]).truth


def test_what_a_register_says_needs_no_device_feed(ask: Ask) -> None:
    when = {"pump": {"event": ["explanted"], "within": "P10D"}}

    assert "false" == ask(when, [HERE], pump="absent").truth
    assert "false" == ask(when, [HERE]).truth
    assert "unknown" == ask(when, [HERE], **NOBODY_SAID).truth


def test_a_later_event_undoes_one_if_it_has_the_result(ask: Ask) -> None:
    when = {"pump": {"event": ["mri"], "within": "PT48H", "undone_by": ["interrogated"], "undone_result": ["ok"]}}
    undone = {"pump": {"event": ["interrupted"], "undone_by": ["restored"]}}

    assert "true" == ask(when, ["0:00 pump mri"]).truth
    assert "true" == ask(when, ["0:00 pump mri", "1:00 pump interrogated result=stopped"], "1:00").truth
    assert "false" == ask(when, ["0:00 pump mri", "1:00 pump interrogated result=ok"], "1:00").truth
    assert "false" == ask(undone, ["0:00 pump interrupted", "1:00 pump restored"], "1:00").truth


def test_a_date_becomes_true_when_it_comes(ask: Ask) -> None:
    when = {"pump": {"event": ["low_reservoir_on"], "due": True, "undone_by": ["refilled"]}}
    given = ["0:00 pump low_reservoir_on date=5:00", "1:00 temp 37"]

    assert ("false", "5:00") == ask(when, given, "4:59")[:2]
    assert "true" == ask(when, given, "5:00").truth
    assert "false" == ask(when, ["0:00 pump low_reservoir_on"]).truth


@pytest.mark.parametrize(
    ("aspirated", "excess", "expected"),
    [(12.0, False, True), (12.1, True, False), (8.0, False, True), (7.9, False, False)],
)
def test_an_aspirate_is_judged_against_2_ml_or_20_percent(
    ask: Ask, aspirated: float, excess: bool, expected: bool
) -> None:
    given = [f"0:00 pump refilled volume_expected_ml=10 volume_aspirated_ml={aspirated}"]

    assert excess == (ask({"pump": {"event": ["refilled"], "aspirate_excess": [2.0, 0.2]}}, given).truth == "true")
    assert expected == (ask({"pump": {"event": ["refilled"], "aspirate_expected": [2.0, 0.2]}}, given).truth == "true")


def test_an_aspirate_without_volumes_is_neither(ask: Ask) -> None:
    assert (
        "false" == ask({"pump": {"event": ["refilled"], "aspirate_excess": [2.0, 0.2]}}, ["0:00 pump refilled"]).truth
    )
    assert "true" == ask({"pump": {"event": ["refilled"], "aspirate_excess": [2.0, 0.2]}},
                         ["0:00 pump refilled volume_expected_ml=20 volume_aspirated_ml=24.1"]).truth  # fmt: skip


def test_an_event_after_a_rule_counts_from_when_the_rule_became_true(ask: Ask) -> None:
    when = {"pump": {"event": ["interrogated"], "result": ["ok"], "within": "PT24H", "after_rule": "W-03"}}
    tone, check = "1:00 context spasticity noted", "pump interrogated result=ok"

    assert "false" == ask(when, [HERE, f"0:00 {check}"]).truth
    assert "false" == ask(when, [f"0:30 {check}", tone], "1:00").truth
    assert "true" == ask(when, [tone, f"1:30 {check}"], "1:30").truth


def test_a_treatment_runs_from_started_to_stopped(ask: Ask) -> None:
    when = {"context": {"kind": ["vasopressor"], "running": True}}
    given = ["0:00 context vasopressor started", "0:30 context vasopressor reduced", "1:00 context vasopressor stopped"]

    assert "true" == ask(when, given, "0:30").truth
    assert "false" == ask(when, given, "1:00").truth
    assert "false" == ask(when, [HERE]).truth


def test_a_note_counts_inside_its_window_with_its_kind_event_and_dose(ask: Ask) -> None:
    when = {"context": {"kind": ["oral_baclofen"], "event": ["given"], "within": "PT72H", "dose_at_least": 100}}

    assert "true" == ask(when, ["0:00 context oral_baclofen given dose=100"]).truth
    assert "false" == ask(when, ["0:00 context oral_baclofen given dose=99"]).truth
    assert "false" == ask(when, ["0:00 context oral_baclofen given"]).truth
    assert "false" == ask(when, ["0:00 context oral_baclofen stopped"]).truth
    assert ("oral_baclofen given 100",) == ask(when, ["0:00 context oral_baclofen given dose=100"]).changes
    forever = {"context": {"kind": ["fall"], "event": ["noted"]}}
    assert ("true", "never") == ask(forever, ["0:00 context fall noted"])[:2]


def test_a_note_of_tone_is_unreadable_under_neuromuscular_block(ask: Ask) -> None:
    when = {"context": {"kind": ["spasticity", "pruritus"], "event": ["noted"], "within": "PT12H"}}
    blocked = ["0:00 context neuromuscular_block started", "0:10 context spasticity noted"]

    assert "unknown" == ask(when, blocked, "0:10").truth
    assert "true" == ask(when, [*blocked, "0:20 context pruritus noted"], "0:20").truth


def test_a_condition_counts_for_as_long_as_it_says(ask: Ask) -> None:
    recent = {"condition": {"code": ["acute_sci"], "within": "P60D"}}

    assert "true" == ask({"condition": {"code": ["acute_sci"]}}, [HERE], conditions={"acute_sci": None}).truth
    assert ("true", "1:00") == ask(recent, [HERE], conditions={"acute_sci": "-1439:00"})[:2]
    assert "false" == ask(recent, [HERE], conditions={"acute_sci": "-1440:00"}).truth
    assert "unknown" == ask(recent, [HERE], conditions={"acute_sci": None}).truth
    assert "false" == ask(recent, [HERE], conditions={"cerebral_palsy": None}).truth


def test_an_unknown_age_is_read_as_adult(ask: Ask) -> None:
    adult, child = {"age": {"at_least": 18}}, {"age": {"below": 18}}

    assert ["true", "true", "false"] == [
        ask(adult, [HERE], **p).truth for p in ({}, {"age_years": 18}, {"age_years": 17})
    ]
    assert ["false", "false", "true"] == [
        ask(child, [HERE], **p).truth for p in ({}, {"age_years": 18}, {"age_years": 17})
    ]


def test_time_since_an_event_lies_between_two_bounds(ask: Ask) -> None:
    when = {"passed_since": {"pump": ["restored"], "at_least": "PT12H", "less_than": "PT24H"}}
    given = ["0:00 pump restored", HERE]

    assert ("false", "never") == ask(when, [HERE])[:2]
    assert ("false", "12:00") == ask(when, given, "11:59")[:2]
    assert ("true", "24:00") == ask(when, given, "12:00")[:2]
    assert "false" == ask(when, given, "24:00").truth


def test_a_note_that_could_not_be_read_is_unknown_until_its_window_has_passed(ask: Ask) -> None:
    question = {"context": {"kind": ["spasticity"], "event": ["noted"], "within": "PT12H"}}
    given = ["0:00 context neuromuscular_block started", "1:00 context spasticity noted"]

    assert ("unknown", "13:00") == (ask(question, given, "2:00").truth, ask(question, given, "2:00").until)
    assert "false" == ask(question, given, "13:00").truth
