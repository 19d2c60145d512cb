"""When two patient ids turn out to be one: the surviving id takes over history and open episodes.

Moved episodes keep their alert ids. Of two of one syndrome the older lives. The id that was merged away keeps nothing
but a sign to the surviving one: whatever still comes for it (a late result, an older merge) is handed on.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from detector import versions
from detector.clock import NEVER
from detector.encoding import decode_head, encode_head, full, replay_log
from detector.episode import Episode
from detector.errors import InputError, StateError
from detector.events import Acknowledgement
from detector.facts import add_context, add_pump, refresh_facts
from detector.patient import MOST_STARTS, STORE_WHOLE, Memo, Patient
from detector.records import MergeOut
from detector.stays import begin_anew, gain

if TYPE_CHECKING:
    from detector.events import Merged
    from detector.fold import Fold


MERGED = "merged"
MOST_ABSORBED = 64


class Handover(Struct, frozen=True, array_like=True):
    """The picture of a patient id as pass 1 left it, and its open episodes as pass 2 found them.

    ``merged_at`` is when the id that hands over was merged away, ``via`` every id this came through, ``answers`` are
    acknowledgements that came for it since: the alerts they speak of live here now.
    """

    head: bytes
    readings: bytes
    episodes: dict[str, Episode]
    merged_at: int
    via: tuple[str, ...]
    answers: tuple[Acknowledgement, ...] = ()


class Leaving(Struct, frozen=True):
    """What pass 1 knows of a patient id that hands over to ``into`` at this step."""

    into: str
    available_at: int
    head: bytes
    readings: bytes
    merged_at: int
    via: tuple[str, ...]
    answers: tuple[Acknowledgement, ...]


def leaving(
    patient: Patient, available_at: int, via: tuple[str, ...] = (), answers: tuple[Acknowledgement, ...] = ()
) -> Leaving:
    """Take everything out of a patient that was merged away; the sign to the surviving id stays."""
    assert patient.merged_into is not None
    path = (*via, patient.patient_id)
    left = Leaving(
        patient.merged_into, available_at, encode_head(patient), full(patient), patient.merged_at, path,
        answers,
    )  # fmt: skip
    patient.series, patient.versions, patient.suspects, patient.left = {}, {}, {}, ()
    patient.pump, patient.context, patient.running, patient.next_fact = [], [], {}, NEVER
    patient.memory, patient.memory_base = {}, {}
    patient.learned, patient.features = {}, {}
    patient.stay = patient.silent_stay = None
    begin_anew(patient)
    patient.unsaved, patient.saved_segments = [], STORE_WHOLE
    return left


def handover(patient: Patient, left: Leaving) -> MergeOut:
    """What the surviving id gets: the picture, and the episodes that are open now."""
    living = {key: episode for key, episode in patient.episodes.items() if not episode.resolved}
    payload = msgspec.msgpack.encode(Handover(left.head, left.readings, living, left.merged_at, left.via, left.answers))
    return MergeOut(left.into, patient.patient_id, left.available_at, payload)


class Absorbed(Struct, frozen=True):
    """What a handover brought: what changed, the open episodes that move here, the ids it came through, and answers to
    alerts.
    """

    changed: frozenset[str] = frozenset()
    episodes: dict[str, Episode] = {}
    via: tuple[str, ...] = ()
    answers: tuple[Acknowledgement, ...] = ()


def absorb(folding: Fold, patient: Patient, event: Merged) -> Absorbed:
    """Take over the history of a patient id that was merged into this one.

    A patient that was itself merged away, and later than the other, hands on what it gets (``merged_into`` stays set);
    one that was merged away earlier is the surviving one again.

    Raises:
        InputError: the payload cannot be read.
    """
    try:
        handed = msgspec.msgpack.decode(event.payload, type=Handover)
        other = decode_head(handed.head)
        replay_log(folding, other, handed.readings)
    except (msgspec.DecodeError, StateError):
        raise InputError("bad_merge", "payload: expected a handover written by this version") from None
    digest = hashlib.sha256(event.payload).hexdigest()[:16]
    if digest in patient.absorbed:
        folding.ledger.add("events_ignored_total", "merge", "duplicate")
        return Absorbed()
    patient.absorbed[digest] = event.available_at
    while len(patient.absorbed) > MOST_ABSORBED:
        del patient.absorbed[min(patient.absorbed, key=lambda known: (patient.absorbed[known], known))]
    if patient.merged_into is not None and (
        handed.merged_at > patient.merged_at or patient.patient_id in handed.via or patient.merged_into in handed.via
    ):
        patient.merged_into = None
    changed = _readings(folding, patient, other)
    for fact in other.pump:
        add_pump(patient, fact)
    for known in other.context:
        add_context(patient, known)
    refresh_facts(patient)
    if not patient.learned:
        patient.learned, patient.learned_at = other.learned, other.learned_at
    for name, mark in other.suspects.items():
        patient.suspects[name] = max(mark, patient.suspects.get(name, mark))
    for memory in (patient.memory, patient.memory_base):
        for rule, theirs in other.memory.items():
            memory[rule] = _joined(memory.get(rule), theirs._replace(ended=theirs.ended or patient.now))
    if other.stay is not None:
        gain(patient, other.stay)
    return Absorbed(
        frozenset(changed | {"pump", "context", "stay", "suspects"}), handed.episodes, handed.via, handed.answers
    )


def _readings(folding: Fold, patient: Patient, other: Patient) -> set[str]:
    wins, changed = versions.merge(patient, other)
    for name, series in other.series.items():
        mine = folding.series(patient, name)
        for k in range(len(series)):
            reading = series.reading(k)
            identity = reading.observation_id
            if identity is None and versions.is_taken_back(patient, name, reading):
                continue
            if identity is not None and identity in other.versions and identity not in wins:
                continue  # what is known here is newer
            if mine.insert(reading):
                patient.unsaved.append(("r", name, *reading))
                changed.add(name)
        if series.older:
            older = {hour.start: hour for hour in (*series.older, *mine.older)}
            mine.older = [older[start] for start in sorted(older)]
            mine.changes += 1
            patient.saved_segments = STORE_WHOLE  # summaries are not in the log
            changed.add(name)
    for identity in sorted(wins):
        patient.unsaved.append(("v", identity, *patient.versions[identity]))
    return changed


def _joined(mine: Memo | None, theirs: Memo) -> Memo:
    """When a rule was true of either id; a run that goes on here goes on."""
    if mine is None:
        return theirs
    ended = None if mine.ended is None else max(mine.ended, theirs.ended or mine.ended)
    starts = tuple(sorted({*mine.starts, *theirs.starts}))[-MOST_STARTS:]
    return Memo(min(mine.since, theirs.since), ended, starts)
