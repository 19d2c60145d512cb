"""The properties of DESIGN.md 4.8, over generated courses that really alert."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from datetime import datetime
from itertools import pairwise

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from detector import snapshot
from detector.clock import HOUR, MINUTE, from_datetime
from detector.engine import Ward
from detector.engine import run as run_engine
from detector.events import Context, Encounter, Event, Observation, Pump, Ticked
from detector.ledger import Ledger
from detector.plan import Plan
from detector.records import AlertRecord, Batch
from detector.rules.truth import FALSE
from pipelines.model_files import open_scorer
from pipelines.plan_files import load_plan
from pipelines.settings import Settings
from tests.detector.courses import Course, course, in_order, wards

pytestmark = pytest.mark.search
AFTER = 60 * HOUR
SCORED = load_plan(Settings())
SCORER = open_scorer(Settings(), SCORED)


@pytest.fixture(scope="module")
def plan() -> Plan:
    """The shipped plan with its models: what holds must hold with a score among the evidence."""
    return SCORED


def run(plan: Plan, ward: Ward, events: Sequence[Event], ledger: Ledger | None = None) -> Batch:
    return run_engine(plan, ward, events, SCORER, ledger)


def fold(plan: Plan, events: list[Event] | tuple[Event, ...], cuts: list[int] | None = None) -> list[AlertRecord]:
    """Records of a course folded in batches that end at ``cuts``, and then ticked until its stays close."""
    ward = Ward(plan)
    records: list[AlertRecord] = []
    bounds = [0, *sorted(cuts or []), len(events)]
    for first, last in pairwise(bounds):
        records += run(plan, ward, events[first:last]).records
    end = max(event.available_at for event in events) + AFTER  # type: ignore[union-attr]
    records += run(plan, ward, [Ticked(end - end % MINUTE)]).records
    return records


def by_alert(records: list[AlertRecord]) -> list[tuple[str, int, bytes]]:
    """Whole records by key, provenance positions aside."""
    return sorted((r.alert_id, r.sequence, _without_positions(r)) for r in records)


def _without_positions(record: AlertRecord) -> bytes:
    provenance = msgspec.structs.replace(record.provenance, position=())
    return msgspec.json.encode(msgspec.structs.replace(record, provenance=provenance))


def test_most_generated_courses_alert(plan: Plan, record_property: Callable[[str, object], None]) -> None:
    alerting = total = criticals = 0

    @settings(max_examples=100, derandomize=True, database=None, suppress_health_check=list(HealthCheck), deadline=None)
    @given(course())
    def count(one: Course) -> None:
        nonlocal alerting, total, criticals
        records = fold(plan, one.events)
        total += 1
        alerting += any(r.syndrome == "itb_withdrawal" for r in records)
        criticals += any(r.severity == "critical" for r in records)

    count()

    record_property("told", f"{alerting} of {total} generated courses alert, {criticals} of them critically")
    assert alerting >= 0.4 * total


@given(course(), st.lists(st.integers(0, 400), max_size=6))
def test_batches_may_be_cut_anywhere(plan: Plan, one: Course, cuts: list[int]) -> None:
    whole = fold(plan, one.events)

    assert by_alert(whole) == by_alert(fold(plan, one.events, [cut for cut in cuts if cut < len(one.events)]))


@given(course(), st.integers(0, 400))
def test_live_ticks_every_minute_equal_replay(plan: Plan, one: Course, seed: int) -> None:
    """Live, every minute is ticked for everyone; replay visits only the minutes at which something can change."""
    rng = random.Random(seed)
    events: list[Event] = []
    at = one.events[0].available_at  # type: ignore[union-attr]
    for event in one.events:
        minute = (event.available_at - 1) // MINUTE * MINUTE  # type: ignore[union-attr]
        if minute > at:
            events += [Ticked(t) for t in range(at // MINUTE * MINUTE + MINUTE, minute + 1, MINUTE)]
            at = minute
        events.append(event)
    cuts = [rng.randrange(len(events)) for _ in range(4)]

    assert by_alert(fold(plan, one.events)) == by_alert(fold_live(plan, events, cuts))


def fold_live(plan: Plan, events: list[Event], cuts: list[int]) -> list[AlertRecord]:
    ward = Ward(plan)
    records: list[AlertRecord] = []
    bounds = [0, *sorted(cuts), len(events)]
    for first, last in pairwise(bounds):
        records += run(plan, ward, events[first:last]).records
    end = max(e.available_at for e in events if not isinstance(e, Ticked)) + AFTER
    return records + run(plan, ward, [Ticked(end - end % MINUTE)]).records


@given(wards())
def test_patients_do_not_influence_each_other(plan: Plan, ward: Course) -> None:
    together = fold(plan, ward.events)
    alone = [
        record
        for patient in ward.patients
        for record in fold(plan, [e for e in ward.events if e.patient_id == patient])  # type: ignore[union-attr]
    ]

    assert by_alert(together) == by_alert(alone)


@given(course(), st.lists(st.floats(0, 1), min_size=1, max_size=4))
def test_a_patient_stored_and_loaded_at_any_event_goes_on_as_if_nothing_happened(
    plan: Plan, one: Course, parts: list[float]
) -> None:
    expected = fold(plan, one.events)
    cuts = sorted(1 + int(part * (len(one.events) - 1)) for part in parts)
    ward, records, stored = Ward(plan), [], {}
    bounds = [0, *cuts, len(one.events)]
    for first, last in pairwise(bounds):
        batch = run(plan, ward, one.events[first:last])
        records += batch.records
        for patient_id in batch.touched:
            changes = snapshot.changes(ward.patients[patient_id])
            assert len(changes.head) <= 16_000
            segments = [] if changes.replace else stored.get(patient_id, (b"", []))[1]
            stored[patient_id] = (changes.head, segments + ([changes.segment] if changes.segment else []))
        before, ward = ward, Ward(plan, ward.ticked_at)
        for patient_id, (head, segments) in stored.items():
            loaded = snapshot.load(plan, head, segments)
            ward.adopt(loaded)
            assert state_of(loaded) == state_of(before.patients[patient_id])
    end = max(event.available_at for event in one.events) + AFTER  # type: ignore[union-attr]
    records += run(plan, ward, [Ticked(end - end % MINUTE)]).records

    assert by_alert(expected) == by_alert(records)


def state_of(patient: object) -> dict[str, object]:
    """Everything remembered of a patient, save what exists only to save work."""
    aside = {"unsaved", "saved_segments", "shown", "asked_due", "untils", "standing", "fallen", "features"}
    state = {name: getattr(patient, name) for name in type(patient).__slots__ if name not in aside}  # type: ignore[attr-defined]
    state["series"] = {name: series for name, series in state["series"].items() if len(series) or series.older}  # type: ignore[attr-defined]
    return state


@given(course(), st.integers(1, 3_000_000))
def test_a_shift_of_whole_minutes_shifts_times_and_nothing_else(plan: Plan, one: Course, minutes: int) -> None:
    shift = minutes * MINUTE
    shifted = [_shifted(event, shift) for event in one.events]

    assert shape(fold(plan, one.events), 0) == shape(fold(plan, shifted), shift)


def _shifted(event: Event, shift: int) -> Event:
    times = {n: getattr(event, n) + shift for n in ("at", "available_at", "effective_at") if hasattr(event, n)}
    return msgspec.structs.replace(event, **times)  # type: ignore[type-var]


def shape(records: list[AlertRecord], shift: int) -> list[tuple[object, ...]]:
    """What does not depend on when: order, steps, severities, evidence, with times relative to the shift."""

    def ms(text: str | None) -> int | None:
        return None if text is None else from_datetime(datetime.fromisoformat(text)) - shift

    return sorted(
        (r.patient_id, r.syndrome, ms(r.at), r.sequence, r.severity, r.state, r.reason, ms(r.onset_at), r.headline,
         tuple((e.rule, e.signal, e.value, ms(e.effective_at), e.change) for e in r.evidence), r.missing, r.against,
         r.differentials, r.checks)
        for r in records
    )  # fmt: skip


FOREIGN = {
    "temp": ("[degF]", lambda v: v * 1.8 + 32),
    "creat": ("umol/L", lambda v: v * 88.42),
    "ck": ("ukat/L", lambda v: v / 60),
    "ast": ("µkat/L", lambda v: v / 60),
    "plt": ("10^9/L", lambda v: v),
}


@given(course(spoiled=False))
def test_the_unit_a_value_came_in_changes_nothing(plan: Plan, one: Course) -> None:
    foreign: list[Event] = []
    for event in one.events:
        if isinstance(event, Observation) and event.code in FOREIGN and event.value is not None:
            unit, convert = FOREIGN[event.code]
            high = None if event.reference_high is None else convert(event.reference_high)
            foreign.append(msgspec.structs.replace(event, value=convert(event.value), unit=unit, reference_high=high))
        else:
            foreign.append(event)

    assert by_alert(fold(plan, one.events)) == by_alert(fold(plan, foreign))


@given(course(), st.integers(0, 1 << 30))
def test_duplicates_change_nothing(plan: Plan, one: Course, seed: int) -> None:
    rng = random.Random(seed)
    doubled: list[Event] = []
    for event in one.events:
        doubled += [event] * rng.choice([1, 1, 2, 3])

    assert by_alert(fold(plan, one.events)) == by_alert(fold(plan, doubled))


@given(course(), st.integers(0, 1 << 30))
def test_the_state_after_an_instant_does_not_depend_on_the_order_of_its_records(
    plan: Plan, one: Course, seed: int
) -> None:
    rng = random.Random(seed)
    events = [_on_a_coarse_clock(event) for event in one.events]
    shuffled = sorted(events, key=lambda e: (e.available_at, rng.random()))  # type: ignore[union-attr]
    left, right = Ward(plan), Ward(plan)
    run(plan, left, in_order(events))
    run(plan, right, shuffled)

    for patient_id, patient in left.patients.items():
        assert settled(patient) == settled(right.patients[patient_id])


def _on_a_coarse_clock(event: Event) -> Event:
    """Many records of one instant: everything becomes available on the hour."""
    at = -(-event.available_at // HOUR) * HOUR  # type: ignore[union-attr]
    return msgspec.structs.replace(event, available_at=at)  # type: ignore[type-var]


def settled(patient: object) -> dict[str, object]:
    state = state_of(patient)
    if not state["episodes"]:
        del state["decided_at"]  # without an alert there is no clock that counts from it
    for halfway in ("looked", "verdicts", "running", "acks", "corrected"):
        state.pop(halfway)
    for episodes in ("episodes", "base"):
        state[episodes] = {
            key: msgspec.structs.replace(episode, sequence=0, reason="", cited={}, corrected_at=None)
            for key, episode in state[episodes].items()  # type: ignore[attr-defined]
            if not episode.resolved
        }
    return state


WORSE = {"temp": 0.7, "ck": 3000, "plt": -40, "ast": 900, "inr": 0.8, "creat": 1.0, "hr": 40, "mas": 1, "gcs": -4}


@given(course(spoiled=False), st.sampled_from(sorted(WORSE)))
def test_making_the_newest_reading_worse_never_lowers_severity(plan: Plan, one: Course, signal: str) -> None:
    """Unless a named guard or differential rule says so: artefacts (G-2) and the overlays L-16 to L-20 are left out."""
    newest = max(
        (e for e in one.events if isinstance(e, Observation) and e.code == signal),
        key=lambda e: (e.available_at, e.effective_at), default=None,
    )  # fmt: skip
    if newest is None or newest.value is None:
        return
    upto = [e for e in one.events if e.available_at <= newest.available_at]  # type: ignore[union-attr]
    worse = max(1.0, newest.value + WORSE[signal])
    changed = [msgspec.structs.replace(e, value=worse) if e is newest else e for e in upto]
    before, after = Ward(plan), Ward(plan)
    run(plan, before, upto)
    run(plan, after, changed)
    left, right = before.patients["p1"], after.patients["p1"]
    overlays = {"L-16", "L-16.suppresses", "L-17", "L-18", "L-19", "L-20", "L-20.quiets"}
    named = any(w.found.get(o) and w.found[o].truth for w in (left, right) for o in overlays)
    jumped = any(not all(series.usable) for series in right.series.values())
    if named or jumped:
        return

    def severity(ward: Ward) -> int:
        return max((e.severity for _, e in ward.open_alerts() if e.syndrome == "itb_withdrawal"), default=0)

    assert severity(after) >= severity(before)


@given(course())
def test_asking_only_what_may_have_changed_equals_asking_everything(plan: Plan, one: Course) -> None:
    from detector.ledger import Ledger
    from detector.picture import Picture

    ward = Ward(plan)
    for event in one.events:
        run(plan, ward, [event])
        patient = ward.patients[event.patient_id]  # type: ignore[union-attr]
        kept = dict(patient.found)
        if patient.stay is None:
            continue
        fresh = snapshot.load(plan, *_stored(patient))
        for rule, answer in kept.items():
            assert fresh.found[rule]._replace(until=0) == answer._replace(until=0)
        assert fresh.found.keys() == kept.keys()
    assert Picture(plan, Ledger()).steps == []


def _stored(patient: object) -> tuple[bytes, list[bytes]]:
    from detector.encoding import encode_head, full

    return encode_head(patient), [full(patient)]  # type: ignore[arg-type]


@given(course())
def test_without_a_pump_nothing_is_said_about_withdrawal(plan: Plan, one: Course) -> None:
    keep = [
        e for e in one.events if not isinstance(e, Pump) and not (isinstance(e, Context) and e.kind == "oral_baclofen")
    ]

    assert not [r for r in fold(plan, keep) if r.syndrome == "itb_withdrawal"]


@given(course())
def test_silence_is_not_reassurance(plan: Plan, one: Course) -> None:
    """Two and a half hours after the newest temperature and heart rate, fever with tachycardia is not answered no."""
    middle = one.events[len(one.events) // 2].available_at  # type: ignore[union-attr]
    upto = [e for e in one.events if e.available_at <= middle]  # type: ignore[union-attr]
    vitals = [e.effective_at for e in upto if isinstance(e, Observation) and e.code in ("temp", "hr")]
    later = max(middle, *vitals, 0) + 5 * HOUR // 2
    ward = Ward(plan)
    run(plan, ward, [*upto, Ticked(later - later % MINUTE + MINUTE)])
    for patient in ward.patients.values():
        assert "W-04" not in patient.found or patient.found["W-04"].truth != FALSE


@given(course())
def test_nothing_looks_ahead(plan: Plan, one: Course) -> None:
    """Every record of a course is written by the events up to its instant alone."""
    whole = fold(plan, one.events)
    if not whole:
        return
    middle = sorted(r.at for r in whole)[len(whole) // 2]
    now = from_datetime(datetime.fromisoformat(middle))
    upto = [e for e in one.events if e.available_at <= now]  # type: ignore[union-attr]
    ward = Ward(plan)
    part = run(plan, ward, [*upto, Ticked(now - now % MINUTE)] if upto else []).records

    assert by_alert([r for r in whole if r.at < middle]) == by_alert([r for r in part if r.at < middle])
    for record in whole:
        assert all(line.available_at <= record.at for line in record.evidence)
        assert record.onset_at is None or record.onset_at <= record.at


def test_courses_use_every_kind_of_event() -> None:
    kinds: set[type] = set()

    @settings(max_examples=60, derandomize=True, database=None, suppress_health_check=list(HealthCheck), deadline=None)
    @given(course())
    def collect(one: Course) -> None:
        kinds.update(type(event) for event in one.events)

    collect()

    assert {Observation, Pump, Context, Encounter} <= kinds
