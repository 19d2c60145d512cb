"""Merged patient ids in a deployment that holds both: a replay, or a service that follows a file.

(On Kafka the surviving id may belong to another worker; there the handover travels through its own topic.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from detector.engine import Ward, run
from detector.events import Encounter, Event, Merged, Ticked
from detector.ledger import Ledger
from detector.plan import Plan
from detector.records import Batch, MergeOut
from detector.scoring import Scorer


def run_with_merges(
    plan: Plan,
    ward: Ward,
    events: Sequence[Event],
    scorer: Scorer,
    ledger: Ledger,
    meet: Callable[[set[str]], object] = len,
) -> tuple[Batch, list[Event]]:
    """Run a batch so that the surviving id has what it takes over before anything that comes after the merge.

    Args:
        plan, ward, events, scorer, ledger: as ``detector.engine.run`` takes them.
        meet: is told the surviving ids before they are needed.

    Returns:
        what came out of all of it, and every event that was folded, the handovers among them.
    """
    whole, folded = Batch(), list[Event]()
    for piece in _up_to_each_merge(ward, events):
        part = list(piece)
        while part:
            batch = run(plan, ward, part, scorer, ledger)
            folded += part
            for name in ("records", "rejected", "merges", "labels"):
                getattr(whole, name).extend(getattr(batch, name))
            whole.touched.update(batch.touched)
            meet({one.into for one in batch.merges})
            part = [handed_over(one) for one in batch.merges]
    return whole, folded


def handed_over(one: MergeOut) -> Merged:
    """What a merge hands over, as the event the surviving id folds."""
    return Merged(
        patient_id=one.into, from_patient_id=one.from_patient_id, available_at=one.available_at, payload=one.payload
    )


def _up_to_each_merge(ward: Ward, events: Sequence[Event]) -> Iterator[Sequence[Event]]:
    """Cut behind whatever makes a handover: a merge, and any event of an id that was merged away."""
    merged = {event.patient_id for event in events if isinstance(event, Encounter) and event.event == "merged"}
    merged |= {patient_id for patient_id, patient in ward.patients.items() if patient.merged_into is not None}
    start = 0
    for number, event in enumerate(events, 1):
        if not isinstance(event, Ticked) and event.patient_id in merged:
            yield events[start:number]
            start = number
    yield events[start:]
