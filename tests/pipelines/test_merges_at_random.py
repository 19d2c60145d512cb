"""The properties of DESIGN.md 4.8 with merges among the events: generated wards whose patients turn out to be one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from detector import snapshot
from detector.clock import HOUR, MINUTE
from detector.engine import Ward, run
from detector.events import Encounter, Event, PatientEvent, Ticked
from detector.ledger import Ledger
from detector.plan import Plan
from detector.records import AlertRecord
from pipelines.merges import handed_over, run_with_merges
from pipelines.model_files import open_scorer
from pipelines.plan_files import load_plan
from pipelines.settings import Settings
from tests.detector.courses import GATES, REGIMES, build, in_order

pytestmark = pytest.mark.search
PLAN: Plan = load_plan(Settings())
SCORER = open_scorer(Settings(), PLAN)
AFTER = 60 * HOUR
MOST_EVENTS = 1_000

few = settings(max_examples=settings().max_examples // 3)  # three or four courses each, told twice

Merging = tuple[str, str]


class MergedWard(msgspec.Struct, frozen=True):
    """Events in the one order, and which ids were merged into which."""

    events: tuple[PatientEvent, ...]
    merges: tuple[Merging, ...]

    def __repr__(self) -> str:
        return f"MergedWard({len(self.events)} events, {self.merges})"

    @property
    def ends(self) -> int:
        end = max(event.available_at for event in self.events) + AFTER
        return end - end % MINUTE

    def families(self) -> list[set[str]]:
        """Ids that belong together, whichever way they were merged."""
        families = [{event.patient_id} for event in self.events]
        families = [set(one) for one in {frozenset(family) for family in families}]
        for left, right in self.merges:
            joined = [family for family in families if {left, right} & family]
            families = [family for family in families if family not in joined] + [set().union(*joined)]
        return families


@st.composite
def merged_wards(draw: st.DrawFn) -> MergedWard:
    """Three or four patients of whom some turn out to be one, once or twice; both ids go on being used."""
    names = [f"p{number}" for number in range(1, draw(st.integers(3, 4)) + 1)]
    events: list[PatientEvent] = []
    for name in names:
        regimes = draw(st.lists(st.sampled_from(sorted(REGIMES)), min_size=1, max_size=2))
        events += build(draw(st.integers(0, 1 << 32)), regimes, draw(st.sampled_from(GATES)), name).events  # type: ignore[arg-type]
    merges: list[Merging] = []
    for _ in range(draw(st.integers(1, 2))):
        left, right = draw(st.permutations(names))[:2]
        when = events[draw(st.integers(0, len(events) - 1))].available_at
        events.append(
            Encounter(
                patient_id=left, stay_id=f"{left}-s1", event="merged", into=right, at=when, available_at=when,
            )
        )  # fmt: skip
        merges.append((left, right))
    return MergedWard(tuple(in_order(events)), tuple(merges))  # type: ignore[arg-type]


def told(events: Sequence[PatientEvent], ends: int, cuts: Iterable[int] = ()) -> list[AlertRecord]:
    ward, records = Ward(PLAN), list[AlertRecord]()
    for first, last in pairwise([0, *sorted(cuts), len(events)]):
        records += run_with_merges(PLAN, ward, events[first:last], SCORER, Ledger())[0].records
    return records + run_with_merges(PLAN, ward, [Ticked(ends)], SCORER, Ledger())[0].records


def by_alert(records: Iterable[AlertRecord]) -> list[tuple[str, int, bytes]]:
    """Whole records by key, provenance positions aside."""
    found = []
    for one in records:
        plain = msgspec.structs.replace(one, provenance=msgspec.structs.replace(one.provenance, position=()))
        found.append((one.alert_id, one.sequence, msgspec.json.encode(plain)))
    return sorted(found)


def test_most_wards_with_merges_alert_and_some_alerts_move(record_property: Callable[[str, object], None]) -> None:
    alerting = total = moved = 0

    @settings(max_examples=12, derandomize=True, database=None, suppress_health_check=list(HealthCheck), deadline=None)
    @given(merged_wards())
    def count(ward: MergedWard) -> None:
        nonlocal alerting, total, moved
        records = told(ward.events, ward.ends)
        total += 1
        alerting += any(one.syndrome == "itb_withdrawal" for one in records)
        owners: dict[str, set[str]] = {}
        for one in records:
            owners.setdefault(one.alert_id, set()).add(one.patient_id)
        moved += any(len(ids) > 1 for ids in owners.values())

    count()

    record_property("told", f"{alerting} of {total} wards with merges alert, in {moved} an alert moves to another id")
    assert alerting >= 0.6 * total
    assert moved


@few
@given(merged_wards())
def test_families_apart_say_what_they_say_together(ward: MergedWard) -> None:
    together = told(ward.events, ward.ends)
    apart = [
        record
        for family in ward.families()
        for record in told([event for event in ward.events if event.patient_id in family], ward.ends)
    ]

    assert by_alert(together) == by_alert(apart)


@few
@given(merged_wards(), st.lists(st.integers(0, MOST_EVENTS), max_size=6))
def test_batches_may_be_cut_anywhere_around_merges(ward: MergedWard, cuts: list[int]) -> None:
    cut = told(ward.events, ward.ends, [cut for cut in cuts if cut < len(ward.events)])

    assert by_alert(told(ward.events, ward.ends)) == by_alert(cut)


@few
@given(merged_wards())
def test_every_id_with_a_worker_of_its_own_says_what_one_worker_says(ward: MergedWard) -> None:
    """As on Kafka: what a merge hands over travels to the partition of the surviving id, which folds it as it comes."""
    wards = {event.patient_id: Ward(PLAN) for event in ward.events}
    records: list[AlertRecord] = []
    happened: list[Event] = [*ward.events]
    for event in happened:
        waiting = [event]
        while waiting:
            one = waiting.pop(0)
            batch = run(PLAN, wards[one.patient_id], [one], SCORER)  # type: ignore[union-attr]
            records += batch.records
            waiting += [handed_over(merge) for merge in batch.merges]
    for mine in wards.values():
        records += run(PLAN, mine, [Ticked(ward.ends)], SCORER).records

    assert by_alert(told(ward.events, ward.ends)) == by_alert(records)


@few
@given(merged_wards(), st.lists(st.floats(0, 1), min_size=1, max_size=4))
def test_stored_and_loaded_around_merges_nothing_happened(ward: MergedWard, parts: list[float]) -> None:
    cuts = sorted(1 + int(part * (len(ward.events) - 1)) for part in parts)
    now, records = Ward(PLAN), list[AlertRecord]()
    stored: dict[str, tuple[bytes, list[bytes]]] = {}
    for first, last in pairwise([0, *cuts, len(ward.events)]):
        batch, _ = run_with_merges(PLAN, now, ward.events[first:last], SCORER, Ledger())
        records += batch.records
        for patient_id in batch.touched:
            changes = snapshot.changes(now.patients[patient_id])
            before = [] if changes.replace else stored.get(patient_id, (b"", []))[1]
            stored[patient_id] = (changes.head, before + ([changes.segment] if changes.segment else []))
        now = Ward(PLAN, now.ticked_at)
        for head, segments in stored.values():
            now.adopt(snapshot.load(PLAN, head, segments))
    records += run_with_merges(PLAN, now, [Ticked(ward.ends)], SCORER, Ledger())[0].records

    assert by_alert(told(ward.events, ward.ends)) == by_alert(records)
