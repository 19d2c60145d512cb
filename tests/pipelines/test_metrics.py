from collections.abc import Sequence
from math import isnan
from types import SimpleNamespace
from typing import Any

import pytest
from msgspec.structs import replace
from prometheus_client.parser import text_string_to_metric_families

from detector.clock import DAY, HOUR
from detector.engine import Ward, run
from detector.episode import Episode
from detector.events import Observation, Ticked
from detector.ledger import METRICS, Ledger
from detector.plan import Plan
from detector.records import Batch, Severity
from pipelines.metrics import Metrics
from pipelines.plan_files import load_plan
from pipelines.settings import AlertActive, Settings
from pipelines.simulate import DEMO_WARD, events
from tests.pipelines.test_results import record

SETTINGS = Settings(wards=["MICU", "SICU"], alert_active=AlertActive(cap=3))


@pytest.fixture(scope="module")
def plan() -> Plan:
    return load_plan(SETTINGS)


@pytest.fixture
def metrics(plan: Plan) -> Metrics:
    return Metrics(plan, SETTINGS)


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(f"itbwatch_{name}", labels)


def series(metrics: Metrics) -> set[tuple[str, tuple[tuple[str, str], ...]]]:
    families = text_string_to_metric_families(metrics.text().decode())
    return {(sample.name, tuple(sorted(sample.labels.items()))) for family in families for sample in family.samples}


def episode(number: int, severity: Severity = Severity.WATCH, unit: str | None = "MICU") -> Episode:
    return Episode(
        key="itb_withdrawal", syndrome="itb_withdrawal", alert_id=f"{number:032x}", sequence=1, severity=severity,
        state="open", opened_at=number, stay_id=f"stay-{number}", unit=unit,
    )  # fmt: skip


def ward(episodes: Sequence[Episode] = (), stays: Sequence[Any] = ()) -> Any:
    """What ``refresh`` reads of a ward."""
    return SimpleNamespace(
        open_alerts=lambda: ((f"patient-{one.stay_id}", one) for one in episodes), stays=lambda: iter(stays)
    )


def stay(unit: str | None, pump: str, newest: int | None, now: int = DAY, opened: int = 0) -> Any:
    return SimpleNamespace(unit=unit, pump=pump, newest_observation_at=newest, now=now, opened_at=opened)


def test_every_series_but_those_of_open_alerts_and_lag_is_there_from_the_start(plan: Plan, metrics: Metrics) -> None:
    before = series(metrics)
    ledger = Ledger()
    ward_of_all = Ward(plan)
    staying = [one for one in events(DEMO_WARD, 0, 60, 1) if getattr(one, "event", None) != "discharged"]
    batch = run(plan, ward_of_all, staying, None, ledger)
    metrics.batch(batch, ledger)
    metrics.refresh([ward_of_all])

    assert batch.records
    assert {"itbwatch_alert_active"} == {name for name, _ in series(metrics) - before}


def test_no_count_of_a_real_run_falls_outside_its_fixed_list(plan: Plan, metrics: Metrics) -> None:
    ledger = Ledger()
    metrics.batch(run(plan, Ward(plan), events(DEMO_WARD, 0, 72, 1), None, ledger), ledger)

    for metric, labels in METRICS.items():
        families = text_string_to_metric_families(metrics.text().decode())
        samples = [s for family in families for s in family.samples if s.name == f"itbwatch_{metric}" and s.value]
        assert all("other" not in (s.labels[label] for label in labels) for s in samples), metric


def test_opened_and_raised_alerts_are_counted_and_other_steps_are_not(metrics: Metrics) -> None:
    for number, state in enumerate(("opened", "raised", "amended", "lowered", "reminded", "resolved"), start=1):
        metrics.batch(Batch(records=[record(sequence=number, state=state)]), Ledger())

    assert 2 == value(metrics, "alerts_total", syndrome="itb_withdrawal", severity="critical", unit="MICU")


def test_a_ward_that_is_not_configured_becomes_other(metrics: Metrics) -> None:
    metrics.batch(Batch(records=[record(unit="Ward of Jane Doe"), record(unit=None)]), Ledger())

    assert 2 == value(metrics, "alerts_total", syndrome="itb_withdrawal", severity="critical", unit="other")
    assert b"Jane" not in metrics.text()


def test_the_time_to_an_acknowledgement_is_taken_from_the_opening(metrics: Metrics) -> None:
    metrics.batch(Batch(records=[record()]), Ledger())
    metrics.batch(Batch(records=[record(sequence=2, state="acknowledged", at="2150-03-01T08:35:00.123Z")]), Ledger())

    assert 1_800 == value(metrics, "alert_acknowledgement_seconds_sum")


def test_an_alert_raised_to_critical_tells_how_long_the_ward_was_told_before(metrics: Metrics) -> None:
    opened = record(severity="warning")
    later = {"severity": "critical", "previous_severity": "warning", "at": "2150-03-01T10:05:00.123Z"}
    metrics.batch(Batch(records=[opened, record(sequence=2, state="raised", **later)]), Ledger())

    assert 7_200 == value(metrics, "alert_lead_seconds_sum")
    assert 1 == value(metrics, "alert_lead_seconds_count")


def test_an_alert_that_was_answered_is_active_and_no_longer_unanswered(metrics: Metrics) -> None:
    labels = {"syndrome": "itb_withdrawal", "severity": "watch", "unit": "MICU"}
    answered = [replace(episode(2), state="acknowledged"), replace(episode(3), state="snoozed")]
    metrics.refresh([ward([episode(1), *answered])])

    assert 3 == value(metrics, "alerts_active", **labels)
    assert 1 == value(metrics, "alerts_unanswered", **labels)


def test_an_index_stands_beside_the_limit_it_must_exceed(metrics: Metrics) -> None:
    assert isnan(value(metrics, "input_drift_limit", signal="temp"))

    metrics.input_drift({"temp": 0.5}, {"temp": 1.03})

    assert (0.5, 1.03) == (
        value(metrics, "input_drift", signal="temp"),
        value(metrics, "input_drift_limit", signal="temp"),
    )
    assert isnan(value(metrics, "input_drift_limit", signal="hr"))


def test_gauges_say_how_things_stand_and_fall_back_to_zero(metrics: Metrics) -> None:
    labels = {"syndrome": "itb_withdrawal", "severity": "watch", "unit": "MICU"}
    metrics.refresh(
        [ward([episode(1), episode(2)], [stay("MICU", "present", DAY - HOUR), stay(None, "unknown", None)])]
    )

    assert 2 == value(metrics, "alerts_active", **labels)
    assert (1, 0) == (
        value(metrics, "stays_monitored", unit="MICU", pump="present"),
        value(metrics, "stays_silent", unit="MICU"),
    )
    assert (1, 1) == (
        value(metrics, "stays_monitored", unit="other", pump="unknown"),
        value(metrics, "stays_silent", unit="other"),
    )

    metrics.refresh([ward()])
    assert 0 == value(metrics, "alerts_active", **labels)


@pytest.mark.parametrize(
    ("newest", "opened", "silent"),
    [
        (None, DAY - HOUR, 0),  # only just admitted
        (None, DAY - 3 * HOUR, 1),
        (HOUR, DAY - HOUR, 0),  # what was measured in an earlier stay says nothing of this one
        (DAY - 3 * HOUR, 0, 1),
    ],
)
def test_a_stay_is_silent_two_hours_after_its_newest_observation_or_its_beginning(
    metrics: Metrics, newest: int | None, opened: int, silent: int
) -> None:
    metrics.refresh([ward([], [stay("MICU", "present", newest, opened=opened)])])

    assert silent == value(metrics, "stays_silent", unit="MICU")


def test_a_patient_of_whom_nothing_is_heard_becomes_silent_though_no_tick_changes_anything(
    plan: Plan, metrics: Metrics
) -> None:
    real, start = Ward(plan), 20_000 * DAY
    seen = Observation(patient_id="p", stay_id="s", code="hr", value=80, effective_at=start, available_at=start)
    run(plan, real, [seen])
    for hours in (1, 2, 3, 9):
        run(plan, real, [Ticked(start + hours * HOUR)])
        metrics.refresh([real])

        assert (hours > 2) == value(metrics, "stays_silent", unit="other")


def test_a_reading_charted_ahead_counts_as_no_delay(metrics: Metrics) -> None:
    ledger = Ledger()
    ledger.delays += [("hr", -3_600.0), ("hr", 5.0)]
    metrics.batch(Batch(), ledger)

    assert 5.0 == value(metrics, "observation_delay_seconds_sum", signal="hr")
    assert 1 == value(metrics, "observation_delay_seconds_bucket", signal="hr", le="1.0")


def test_an_open_alert_has_a_series_under_a_pseudonym_until_it_closes(metrics: Metrics) -> None:
    metrics.refresh([ward([episode(1, Severity.CRITICAL)])])
    [open_series] = [labels for name, labels in series(metrics) if name == "itbwatch_alert_active"]

    assert 20 == len(dict(open_series)["stay"])
    assert b"stay-1" not in metrics.text()

    metrics.refresh([ward()])
    assert not [name for name, _ in series(metrics) if name == "itbwatch_alert_active"]


def test_the_cap_keeps_the_most_severe_and_counts_the_rest_once(metrics: Metrics) -> None:
    many = [*(episode(number) for number in range(1, 6)), episode(9, Severity.CRITICAL)]
    for _ in range(3):
        metrics.refresh([ward(many)])

    shown = [dict(labels) for name, labels in series(metrics) if name == "itbwatch_alert_active"]
    assert ["critical", "watch", "watch"] == sorted(labels["severity"] for labels in shown)
    assert 3 == value(metrics, "alert_active_overflow_total")


def test_the_series_of_open_alerts_can_be_switched_off(plan: Plan) -> None:
    quiet = Metrics(plan, Settings(alert_active=AlertActive(enabled=False)))
    quiet.refresh([ward([episode(1)])])

    assert b"itbwatch_alert_active{" not in quiet.text()


def test_rejections_are_counted_under_the_topic_s_name_and_a_known_reason(plan: Plan, metrics: Metrics) -> None:
    metrics.rejected("icu.observations", "json")
    metrics.rejected("observations", "json")
    metrics.rejected("mallory", "new reason")
    unknown = Observation(patient_id="p", code="no such code", value=1, effective_at=0, available_at=0)
    metrics.batch(run(plan, Ward(plan), [unknown]), Ledger())

    assert 2 == value(metrics, "records_rejected_total", topic="icu.observations", reason="json")
    assert 1 == value(metrics, "records_rejected_total", topic="other", reason="other")
    assert 1 == value(metrics, "records_rejected_total", topic="other", reason="unknown_code")


def test_a_file_source_is_a_topic_of_its_own(plan: Plan) -> None:
    metrics = Metrics(plan, Settings(source="file"))
    metrics.rejected("events.ndjson", "json")

    assert 1 == value(metrics, "records_rejected_total", topic="events.ndjson", reason="json")


def test_what_the_service_measures_arrives(metrics: Metrics) -> None:
    metrics.lag({("icu.pumps", 3): 17})
    metrics.kafka_up(True)
    metrics.store_up(False)
    metrics.commit_seconds(0.2)
    metrics.detection_latency(1.5)
    metrics.dead_letter("json")
    metrics.last_record(1_000.5)
    metrics.canary(1_001)
    metrics.consumer_recreated()
    metrics.state_bytes(4_096)

    assert 17 == value(metrics, "consumer_lag_records", topic="icu.pumps", partition="3")
    assert (1, 0) == (value(metrics, "kafka_up"), value(metrics, "store_up"))
    assert (0.2, 1.5) == (value(metrics, "store_commit_seconds_sum"), value(metrics, "detection_latency_seconds_sum"))
    assert 1 == value(metrics, "dead_letters_total", reason="json")
    assert (1_000.5, 1_001) == (
        value(metrics, "last_record_timestamp_seconds"),
        value(metrics, "canary_timestamp_seconds"),
    )
    assert (1, 4_096) == (value(metrics, "consumer_recreations_total"), value(metrics, "state_bytes"))


def test_the_plan_in_force_is_shown(plan: Plan, metrics: Metrics) -> None:
    assert 1 == value(metrics, "plan_info", digest=plan.digest, rules_version=plan.rules_version)


def test_a_partition_that_is_lost_leaves_no_lag_behind(metrics: Metrics) -> None:
    metrics.lag({("icu.pumps", 3): 17, ("icu.pumps", 4): 1})
    metrics.lag({("icu.pumps", 4): 2})

    assert 2 == value(metrics, "consumer_lag_records", topic="icu.pumps", partition="4")
    assert value(metrics, "consumer_lag_records", topic="icu.pumps", partition="3") is None
