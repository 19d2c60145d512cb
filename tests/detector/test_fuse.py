"""From answers to verdicts: severity, overlays, caps, gate (clinical-evidence.md 5.1 and 5.2). No window is looked at."""

from collections.abc import Callable

import pytest

from detector.catalogue.strict import Problems
from detector.courses import Bed, instant, read_course
from detector.fuse import HYPERPYREXIA, OVERDOSE, QUERY, WITHDRAWAL, fuse
from detector.plan import Plan
from detector.rules.truth import FALSE, TRUE, UNKNOWN, Found
from detector.verdict import NOTHING, Verdicts

Fuse = Callable[..., Verdicts]


@pytest.fixture
def fused(plan: Plan) -> Fuse:
    """The verdicts when exactly these answers are true (or unknown), every other one is false and the gate is open.

    ``axis`` = a withdrawal axis was true in the 48 h before, so that no guard caps anything.
    """

    def verdicts(
        *true: str, unknown: tuple[str, ...] = (), gate: int = TRUE, axis: bool = True, open_: bool = False
    ) -> Verdicts:
        found = {asked.id: Found(FALSE) for asked in (*plan.book.asked, *plan.book.late)} | {"CTX-01": Found(gate)}
        found |= {name: Found(TRUE) for name in (*true, *((cap.unless for cap in plan.book.caps) if axis else ()))}
        found |= {name: Found(UNKNOWN) for name in unknown}
        assert set(found) == {asked.id for asked in (*plan.book.asked, *plan.book.late)}
        return fuse(plan.book, found, withdrawal_open=open_)

    return verdicts


def severity(verdicts: Verdicts, key: str = WITHDRAWAL) -> str:
    verdict = verdicts.by_key.get(key)
    return verdict.severity.word if verdict is not None else "none"


def test_before_anything_was_asked_nothing_is_said(plan: Plan) -> None:
    assert NOTHING == fuse(plan.book, {}, withdrawal_open=False)


def test_the_severity_is_the_highest_of_the_rules(fused: Fuse) -> None:
    verdict = fused("W-03", "R-06", "R-08").by_key[WITHDRAWAL]

    assert "warning" == verdict.severity.word
    assert ("R-06", "R-08", "W-03") == verdict.because


@pytest.mark.parametrize(
    ("true", "expected"),
    [
        (("W-05",), "warning"),
        (("W-05", "W-05.soften[0]"), "watch"),
        (("R-07",), "warning"),
        (("R-07", "R-07.escalate[0]"), "critical"),
        (("R-08",), "watch"),
        (("R-08", "R-08.escalate[0]"), "warning"),
        (("R-09",), "watch"),
        (("R-09", "R-09.escalate[0]"), "warning"),
        (("R-10", "R-10.escalate[0]"), "critical"),
        (("R-11", "R-11.escalate[0]"), "critical"),
        (("R-12", "R-12.escalate[0]"), "critical"),
        (("C-13",), "warning"),
        (("C-13", "C-13.escalate[0]"), "critical"),
        (("C-14",), "critical"),
        (("C-15",), "critical"),
        (("L-20",), "watch"),
        (("L-20", "L-20.escalate[0]"), "critical"),
        ((), "none"),
    ],
)
def test_each_rule_stands_for_its_severity_and_its_side_conditions_move_it(
    fused: Fuse, true: tuple[str, ...], expected: str
) -> None:
    assert expected == severity(fused(*true))


def test_an_unknown_rule_never_raises_but_is_kept_as_possible(fused: Fuse) -> None:
    verdict = fused("W-03", unknown=("R-07", "R-07.escalate[0]")).by_key[WITHDRAWAL]

    assert "watch" == verdict.severity.word
    assert "critical" == verdict.possible["R-07"].word
    assert "R-07" not in verdict.true


def test_an_unknown_side_condition_does_not_escalate(fused: Fuse) -> None:
    verdict = fused("R-07", unknown=("R-07.escalate[0]",)).by_key[WITHDRAWAL]

    assert ("warning", "critical") == (verdict.severity.word, verdict.possible["R-07"].word)


# --- interruption evidence, CTX-02 ------------------------------------------------------------------------------------


def test_interruption_evidence_alone_is_a_watch(fused: Fuse) -> None:
    assert "watch" == severity(fused("CTX-02"))


@pytest.mark.parametrize("rule", ["W-03", "W-04", "R-08", "R-09"])
def test_interruption_evidence_raises_a_w_or_r_rule_by_one(fused: Fuse, rule: str) -> None:
    assert "warning" == severity(fused(rule, "CTX-02"))


def test_it_lifts_a_warning_to_critical_only_with_heat_or_an_organ(fused: Fuse) -> None:
    assert "warning" == severity(fused("W-05", "CTX-02"))
    assert "critical" == severity(fused("W-05", "CTX-02", "CTX-02.raises.critical_only_when"))


def test_it_is_not_counted_twice_when_it_made_r_06_true(fused: Fuse) -> None:
    true = ("R-06", "CTX-02", "CTX-02.raises.critical_only_when")

    assert "critical" == severity(fused(*true))
    assert "warning" == severity(fused(*true, "CTX-02.raises.spares"))


def test_nothing_goes_above_critical_and_c_13_is_not_raised(fused: Fuse) -> None:
    assert "critical" == severity(fused("C-14", "CTX-02", "CTX-02.raises.critical_only_when"))
    assert "warning" == severity(fused("C-13", "CTX-02", "CTX-02.raises.critical_only_when"))


# --- lowering ---------------------------------------------------------------------------------------------------------


def test_dysreflexia_lowers_only_w_04_and_r_08(fused: Fuse) -> None:
    assert "info" == severity(fused("R-08", "L-17"))
    assert "info" == severity(fused("W-04", "R-08", "L-17"))
    assert "watch" == severity(fused("W-03", "R-08", "L-17"))


def test_all_lowering_rules_together_lower_by_one_step(fused: Fuse) -> None:
    assert "warning" == severity(fused("C-14", "L-18", "L-19"))
    assert "watch" == severity(fused("R-06", "L-18", "L-19"))


def test_a_verified_pump_never_lowers_below_watch_and_infection_may(fused: Fuse) -> None:
    assert "watch" == severity(fused("W-03", "L-19"))
    assert "info" == severity(fused("W-03", "L-18"))
    assert "watch" == severity(fused("W-03", "L-18", "L-19"))


def test_dysreflexia_and_another_lowering_rule_lower_one_step_in_all(fused: Fuse) -> None:
    assert "watch" == severity(fused("R-08", "R-08.escalate[0]", "L-17", "L-18"))


def test_infection_puts_sepsis_first_among_the_differentials(fused: Fuse) -> None:
    assert ("sepsis",) == fused("R-06", "L-18").by_key[WITHDRAWAL].first


def test_an_overlay_leaves_its_text_and_its_name(fused: Fuse) -> None:
    verdict = fused("R-08", "L-17").by_key[WITHDRAWAL]

    assert "L-17" in verdict.because
    assert "bladder" in verdict.notes[0]


def test_hyperpyrexia_is_exempt_from_lowering(fused: Fuse) -> None:
    assert "critical" == severity(fused("C-13", "C-13.escalate[0]", "L-18", "L-19"))


# --- G-5 --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", ["R-10", "R-11", "R-12", "C-15"])
def test_organ_and_pressure_rules_without_an_axis_count_as_watch(fused: Fuse, rule: str) -> None:
    escalated = [f"{rule}.escalate[0]"] if rule.startswith("R") else []

    assert "watch" == severity(fused(rule, *escalated, axis=False))
    assert "critical" == severity(fused(rule, *escalated, axis=True))


@pytest.mark.parametrize("rule", ["R-08", "R-09"])
def test_instability_and_neurology_in_fever_alone_count_as_watch(fused: Fuse, rule: str) -> None:
    assert "watch" == severity(fused(rule, "W-04", f"{rule}.escalate[0]", axis=False))
    assert "warning" == severity(fused(rule, "W-04", f"{rule}.escalate[0]", axis=True))


def test_the_cap_binds_what_is_possible_too(fused: Fuse) -> None:
    assert "watch" == fused(unknown=("C-15",), axis=False).by_key[WITHDRAWAL].possible["C-15"].word


def test_c_14_is_not_capped(fused: Fuse) -> None:
    assert "critical" == severity(fused("C-14", axis=False))


# --- the gate ---------------------------------------------------------------------------------------------------------


def test_with_the_gate_closed_nothing_is_written_of_withdrawal_and_it_is_counted(fused: Fuse) -> None:
    closed, unknown = fused("R-06", gate=FALSE), fused("R-06", gate=UNKNOWN)

    assert WITHDRAWAL not in closed.by_key
    assert {"no_pump": "warning"} == {reason: kept.word for reason, kept in closed.withheld.items()}
    assert {"pump_unknown"} == set(unknown.withheld)
    assert {} == fused(gate=FALSE).withheld


@pytest.mark.parametrize("gate", [FALSE, UNKNOWN])
def test_hyperpyrexia_is_a_syndrome_of_its_own_when_the_gate_is_not_open(fused: Fuse, gate: int) -> None:
    verdicts = fused("C-13", "C-13.escalate[0]", gate=gate)

    assert "critical" == severity(verdicts, HYPERPYREXIA)
    assert WITHDRAWAL not in verdicts.by_key


def test_with_the_gate_open_hyperpyrexia_belongs_to_withdrawal(fused: Fuse) -> None:
    verdicts = fused("C-13", "C-13.escalate[0]")

    assert HYPERPYREXIA not in verdicts.by_key
    assert "critical" == severity(verdicts)


def test_an_explanted_pump_keeps_the_gate_open_as_long_as_its_alert(fused: Fuse) -> None:
    assert "warning" == severity(fused("R-06", "pump-explanted", gate=FALSE, open_=True))
    assert "none" == severity(fused("R-06", "pump-explanted", gate=FALSE, open_=False))
    assert "none" == severity(fused("R-06", gate=FALSE, open_=True))


def test_only_an_unknown_pump_is_asked_for(fused: Fuse) -> None:
    true = ("R-06", "pump_status_query")

    assert "info" == severity(fused(*true, gate=UNKNOWN), QUERY)
    assert QUERY not in fused(*true, gate=FALSE).by_key
    assert QUERY not in fused(*true).by_key


# --- overdose ---------------------------------------------------------------------------------------------------------


def test_overdose_is_a_syndrome_of_its_own_and_needs_no_pump(fused: Fuse) -> None:
    assert "critical" == severity(fused("L-16"), OVERDOSE)
    assert "critical" == severity(fused("L-16", gate=FALSE), OVERDOSE)
    assert "none" == severity(fused("L-16"))


def test_overdose_mutes_withdrawal_only_while_all_of_it_is_known(fused: Fuse) -> None:
    shown = fused("L-16", "R-09")
    muted = fused("L-16", "L-16.suppresses", "R-09")

    assert "watch" == severity(shown)
    assert "none" == severity(muted)
    assert {"overdose_pattern": "watch"} == {reason: kept.word for reason, kept in muted.withheld.items()}
    assert "watch" == muted.by_key[WITHDRAWAL].hold.word


# --- after restoration ------------------------------------------------------------------------------------------------


def test_ck_alone_is_quiet_after_restoration_but_holds_an_open_alert(fused: Fuse) -> None:
    verdicts = fused("W-05", "R-07", "L-20.quiets")

    assert "none" == severity(verdicts)
    assert "warning" == verdicts.by_key[WITHDRAWAL].hold.word
    assert {"post_restoration": "warning"} == {reason: kept.word for reason, kept in verdicts.withheld.items()}


def test_what_is_more_than_ck_alone_is_not_quiet_after_restoration(fused: Fuse) -> None:
    assert "critical" == severity(fused("R-07", "R-07.escalate[0]", "L-20.quiets"))
    assert "warning" == severity(fused("R-06", "W-05", "L-20.quiets"))


def test_a_stay_is_asked_once_whether_there_is_a_pump(plan: Plan) -> None:
    given = ["0:00 context spasticity noted", "0:00 temp 40.0", "3:00 temp 37.0", "20:00 temp 37.0",
             "30:00 context spasticity noted", "30:00 temp 40.0"]  # fmt: skip
    bed = Bed(plan, read_course(plan.catalogue, {"pump": "unknown"}, [("", line) for line in given], "$", Problems("")))
    bed.until(instant("31:00"))
    asked = [record for record in bed.records if record.syndrome == QUERY]

    assert 1 == sum(record.state == "opened" for record in asked)
    assert {"info"} == {record.severity for record in asked}
    assert {QUERY} == {record.syndrome for record in bed.records}
