"""Saving a patient and getting an equal one back.

``changes`` gives what a commit must write; it must be called once for each patient the engine touched, before the next
batch, and its result stored in the same transaction as the position of the last event folded. ``load`` resumes *after*
that event. What can be asked again (answers, verdicts, due times) is not stored: it is asked again, and because
answers are a function of what is remembered and of now, they are the same.
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from detector.deciding import Deciding
from detector.encoding import decode_head, encode_head, encode_log, full, replay_log
from detector.ledger import Ledger
from detector.patient import Patient
from detector.picture import Picture
from detector.plan import Plan

MOST_SEGMENTS = 256
"""After so many appended segments the log is replaced by the readings themselves."""


class Changes(Struct, frozen=True):
    """What to store of a patient. ``replace`` = delete its segments first; ``segment`` None = nothing to append."""

    head: bytes
    segment: bytes | None
    replace: bool


def changes(patient: Patient) -> Changes:
    """What changed since the last call (a new patient: everything). It is taken as stored from here on."""
    replace = patient.saved_segments >= MOST_SEGMENTS
    if replace:
        segment: bytes | None = full(patient)
        patient.saved_segments = 1
    elif patient.unsaved:
        segment = encode_log(patient.unsaved)
        patient.saved_segments += 1
    else:
        segment = None
    patient.unsaved = []
    return Changes(encode_head(patient), segment, replace)


def load(plan: Plan, head: bytes, segments: Iterable[bytes]) -> Patient:
    """The patient whose head and segments (in the order they were appended) were stored.

    Raises:
        StateError: they cannot be read, or were written by another format.
    """
    ledger = Ledger()  # what is counted while waking was counted before
    picture, deciding = Picture(plan, ledger), Deciding(plan, ledger)
    patient = decode_head(head)
    for segment in segments:
        replay_log(picture.folding, patient, segment)
    patient.unsaved = []
    picture.wake(patient)
    if patient.shown is not None:
        deciding.wake(patient)
    return patient
