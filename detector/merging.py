"""When two patient ids turn out to be one: the surviving id takes over history and open episodes.

Moved episodes keep their alert ids. Of two of one syndrome the older lives.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from detector.encoding import decode_head, encode_head, full, replay_log
from detector.episode import Episode
from detector.errors import InputError, StateError
from detector.patient import MOST_STARTS, Memo, Patient
from detector.records import MergeOut

if TYPE_CHECKING:
    from detector.events import Merged
    from detector.fold import Fold


MERGED = "merged"


class Handover(Struct, frozen=True, array_like=True):
    """The picture of a patient id as pass 1 left it, and its open episodes as pass 2 found them."""

    head: bytes
    readings: bytes
    episodes: dict[str, Episode]


class Leaving(Struct, frozen=True):
    """A patient id that is merged away at this step: what pass 1 knows of it."""

    into: str
    available_at: int
    head: bytes
    readings: bytes


def leaving(patient: Patient, into: str, available_at: int) -> Leaving:
    """The picture of a patient at the moment it is merged away."""
    return Leaving(into, available_at, encode_head(patient), full(patient))


def handover(patient: Patient, left: Leaving) -> MergeOut:
    """What the surviving id gets: the picture, and the episodes that are open now."""
    living = {key: episode for key, episode in patient.episodes.items() if not episode.resolved}
    payload = msgspec.msgpack.encode(Handover(left.head, left.readings, living))
    return MergeOut(left.into, patient.patient_id, left.available_at, payload)


def absorb(folding: Fold, patient: Patient, event: Merged) -> tuple[frozenset[str], dict[str, Episode]]:
    """Take over the history of a patient id that was merged into this one.

    Returns:
        what changed, and the open episodes that move here by episode key.

    Raises:
        InputError: the payload cannot be read.
    """
    try:
        handed = msgspec.msgpack.decode(event.payload, type=Handover)
        other = decode_head(handed.head)
        replay_log(folding, other, handed.readings)
    except (msgspec.DecodeError, StateError):
        raise InputError("bad_merge", "payload: expected a handover written by this version") from None
    if patient.absorbed.get(event.from_patient_id, event.available_at - 1) >= event.available_at:
        folding.ledger.add("events_ignored_total", "merge", "duplicate")
        return frozenset(), {}
    patient.absorbed[event.from_patient_id] = event.available_at
    changed: set[str] = set()
    for name, series in other.series.items():
        mine = folding.series(patient, name)
        for k in range(len(series)):
            reading = series.reading(k)
            if mine.insert(reading):
                patient.unsaved.append(("r", name, *reading))
                changed.add(name)
        if series.older:
            older = {hour.start: hour for hour in (*series.older, *mine.older)}
            mine.older = [older[start] for start in sorted(older)]
            patient.saved_segments = 1 << 30  # summaries are not in the log: store the readings whole
            changed.add(name)
    for identity, version in other.versions.items():
        if identity not in patient.versions:
            patient.versions[identity] = version
            patient.unsaved.append(("v", identity, *version))
    folding.take_facts(patient, other.pump, other.context)
    for memory in (patient.memory, patient.memory_base):
        for rule, theirs in other.memory.items():
            memory[rule] = _joined(memory.get(rule), theirs._replace(ended=theirs.ended or patient.now))
    if patient.stay is None and other.stay is not None:
        patient.stay = other.stay
    return frozenset(changed | {"pump", "context", "stay"}), handed.episodes


def _joined(mine: Memo | None, theirs: Memo) -> Memo:
    """When a rule was true of either id; a run that goes on here goes on."""
    if mine is None:
        return theirs
    ended = None if mine.ended is None else max(mine.ended, theirs.ended or mine.ended)
    starts = tuple(sorted({*mine.starts, *theirs.starts}))[-MOST_STARTS:]
    return Memo(min(mine.since, theirs.since), ended, starts)
