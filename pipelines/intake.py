"""From the records of one poll to the events of one partition: whatever is no event here leaves as a dead letter."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from detector.errors import InputError
from detector.events import PatientEvent, TimeMoved
from pipelines.deadletters import keep
from pipelines.formats import canonical
from pipelines.kafka_clients import LARGEST_RECORD
from pipelines.settings import Limits
from pipelines.sources import RawRecord
from pipelines.store import Work

log = logging.getLogger(__name__)

Usable = list[tuple[RawRecord, PatientEvent | TimeMoved]]
Rejected = list[tuple[str, str]]
"""(topic, reason) of each dead letter."""


def take_in(
    raws: Sequence[RawRecord], work: Work, limits: Limits, elsewhere: Callable[[set[str]], set[str]]
) -> tuple[Usable, Rejected]:
    """Decode the records of one partition, in order.

    Args:
        raws: as they were read.
        work: takes the dead letters, and the marks of those that came back and were read again.
        limits: of bytes and JSON depth.
        elsewhere: which of some patients another partition number has: their history would be cut in two.

    Returns:
        the records that are events of patients of this partition, and (topic, reason) of the others.
    """
    usable: Usable = []
    rejected: Rejected = []

    def refuse(raw: RawRecord, reason: str) -> None:
        log.warning("record_refused topic=%s partition=%d offset=%d reason=%s", *raw.position, reason)
        rejected.append((raw.topic, reason))
        keep(work, raw, reason)

    for raw in raws:
        if raw.redriven is not None:
            work.redriven.append(raw.redriven)
        try:
            event = canonical.decode(
                raw.value,
                topic=raw.role,
                timestamp=raw.timestamp,
                position=raw.position,
                record_bytes=limits.record_bytes if raw.role != "merges" else LARGEST_RECORD,
                json_depth=limits.json_depth,
            )
            if raw.role is not None and not isinstance(event, TimeMoved) and raw.key != event.patient_id.encode():
                raise InputError("key_mismatch", "key: expected the patient_id of the record")
        except InputError as error:
            refuse(raw, error.reason)
        else:
            usable.append((raw, event))
    theirs = elsewhere({event.patient_id for _, event in usable if not isinstance(event, TimeMoved)})
    if not theirs:
        return usable, rejected
    mine: Usable = []
    for raw, event in usable:
        if isinstance(event, TimeMoved) or event.patient_id not in theirs:
            mine.append((raw, event))
        else:
            refuse(raw, "partition_mismatch")
    return mine, rejected
