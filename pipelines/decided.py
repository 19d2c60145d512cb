"""What one step made of one partition: first in memory, then as the work to be stored in one transaction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from detector import snapshot
from detector.engine import Ward
from detector.events import Position
from detector.ledger import Ledger
from detector.records import AlertRecord, Batch
from pipelines.deadletters import keep
from pipelines.exports import Export
from pipelines.formats import canonical
from pipelines.formats.times import parse_time
from pipelines.merges import handed_over
from pipelines.sources import RawRecord
from pipelines.store import Outgoing, Work
from pipelines.store.spellings import spellings
from pipelines.technical import is_ours


@dataclass
class Decided:
    """What to store of a partition, and what to count once it is stored. ``came``: the records that were taken."""

    work: Work
    batch: Batch
    ledger: Ledger
    rejected: list[tuple[str, str]] = field(default_factory=list)
    remarks: list[tuple[str, str]] = field(default_factory=list)
    came: dict[Position, RawRecord] = field(default_factory=dict)
    shadow: Batch = field(default_factory=Batch)
    canary: list[AlertRecord] = field(default_factory=list)  # told on the alert topic, and nowhere else
    newest: int | None = None  # the time of its newest record: the broker's, else that of the event


def to_store(decided: Decided, ward: Ward, exports: Mapping[str, Export], *, hand_over: bool) -> None:
    """Put what was let out into the work: patients that changed, alerts, and everything that leaves.

    ``hand_over`` False = whoever survives a merge is in the same process, and had it already.
    """
    work, batch = decided.work, decided.batch
    work.alerts, work.labels = batch.records, batch.labels
    for patient_id in sorted(batch.touched):
        work.patients.append((patient_id, snapshot.changes(ward.patients[patient_id])))
        if ward.patients[patient_id].rests:
            work.resting.add(patient_id)
    work.outgoing += [
        Outgoing("alerts", one.patient_id.encode(), one.to_json(), parse_time(one.at))
        for one in (*batch.records, *decided.canary)
    ]
    work.outgoing += [
        Outgoing(name, one.patient_id.encode(), document, parse_time(one.at))
        for name, export in exports.items()
        for one in batch.records
        if not is_ours(one)
        for document in export(one)
    ]
    if hand_over:
        work.outgoing += [
            Outgoing("merges", one.into.encode(), canonical.encode(handed_over(one)), one.available_at)
            for one in batch.merges
        ]
    work.unmapped += spellings(batch.rejected)
    kept = {Position(letter.topic, letter.partition, letter.offset) for letter in work.deadletters}
    for one in batch.rejected:
        if one.quarantined and one.position is not None and one.position in decided.came and one.position not in kept:
            kept.add(one.position)
            keep(work, decided.came[one.position], one.reason)
