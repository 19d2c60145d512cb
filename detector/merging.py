"""When two patient ids turn out to be one: the surviving id takes over history and open episodes.

Moved episodes keep their alert ids. Of two of one syndrome the older lives.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from detector.encoding import decode_head, encode_head, full, replay_log
from detector.errors import InputError, StateError
from detector.patient import Patient

if TYPE_CHECKING:
    from detector.episode import Episode
    from detector.events import Merged
    from detector.fold import Fold


class Handover(Struct, frozen=True, array_like=True):
    head: bytes
    readings: bytes


def handover(patient: Patient) -> bytes:
    """What the surviving id needs of this patient."""
    return msgspec.msgpack.encode(Handover(encode_head(patient), full(patient)))


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
        patient.versions.setdefault(identity, version)
    folding.take_facts(patient, other.pump, other.context)
    moved = {key: episode for key, episode in other.episodes.items() if not episode.resolved}
    if patient.stay is None and other.stay is not None:
        patient.stay = other.stay
    return frozenset(changed | {"pump", "context", "stay"}), moved
