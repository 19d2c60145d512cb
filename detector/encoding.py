"""The stored form of a patient: a head, and the log of what was done to its readings.

The head holds everything but readings (at most 16 kB); it is written whole each time. Readings are a log that is only
appended to: ``r`` put in, ``x`` taken out, ``v`` a version without a reading, ``c`` an hour summarised. Replaying the
log does to an empty patient exactly what was done to this one. When the log grows long it is replaced by the columns
themselves (``f``), which is how it stays bounded.
"""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from detector.clock import NEVER
from detector.episode import Episode
from detector.errors import StateError
from detector.events import EARLIEST, Acknowledgement, Observation
from detector.forgetting import summarise
from detector.hours import Hour
from detector.patient import ContextFact, Left, Look, Looks, Memo, Patient, PumpFact, Stay, Told, Version
from detector.reading import Meta, Reading
from detector.scoring import Score

if TYPE_CHECKING:
    from detector.fold import Fold

FORMAT = 1


class Head(Struct, frozen=True, array_like=True):
    """Everything of a patient but its readings; field order is the stored order, so only append."""

    format: int
    patient_id: str
    anchor: int
    now: int
    instant: int
    next_hour: int
    stay: Stay | None
    closed: dict[str, int]
    newest_observation_at: int | None
    pump: list[PumpFact]
    context: list[ContextFact]
    suspects: dict[str, tuple[int, float, int]]
    ahead: tuple[int, int]
    ahead_base: tuple[int, int]
    memory: dict[str, Memo]
    memory_base: dict[str, Memo]
    base: dict[str, Episode]
    episodes: dict[str, Episode]
    decided_at: int
    acks: tuple[Acknowledgement, ...]
    corrected: tuple[str, ...]
    ended: str | None
    prompted: tuple[str, int] | None
    saved_segments: int
    base_true: tuple[str, ...]
    silent_stay: Stay | None
    absorbed: dict[str, int]
    merged_into: str | None = None
    merged_at: int = EARLIEST
    unmatched: tuple[Observation, ...] = ()
    learned: dict[str, list[float]] = {}
    learn_due: int = NEVER
    learned_at: int = 0
    score_due: int = NEVER
    scores: dict[str, tuple[int, Score]] = {}
    told: Told | None = None
    left: tuple[Left, ...] = ()
    points: tuple[tuple[str, int], ...] = ()
    looks: tuple[Look, ...] = ()
    looks_before: Looks = Looks()


_PLAIN = (
    "patient_id", "anchor", "now", "instant", "next_hour", "stay", "closed", "newest_observation_at", "pump", "context",
    "suspects", "ahead", "ahead_base", "memory", "memory_base", "base", "episodes", "decided_at", "acks", "ended",
    "prompted", "saved_segments", "base_true", "silent_stay", "absorbed", "merged_into", "merged_at",
    "unmatched", "learned", "learn_due", "learned_at", "score_due", "scores", "told",
    "left", "points", "looks_before",
)  # fmt: skip


def encode_head(patient: Patient) -> bytes:
    """The head as msgpack."""
    plain: dict[str, Any] = {name: getattr(patient, name) for name in _PLAIN}
    return msgspec.msgpack.encode(
        Head(format=FORMAT, corrected=tuple(sorted(patient.corrected)), looks=tuple(sorted(patient.looks)), **plain)
    )


def decode_head(head: bytes) -> Patient:
    """A patient without readings.

    Raises:
        StateError: not a head, or one of another format.
    """
    try:
        stored = msgspec.msgpack.decode(head, type=Head)
    except msgspec.DecodeError as error:
        msg = f"a stored patient cannot be read ({type(error).__name__}); expected format {FORMAT}"
        raise StateError(msg) from None
    if stored.format != FORMAT:
        msg = (
            f"a stored patient has format {stored.format}; expected {FORMAT}: use the version that wrote it, or migrate"
        )
        raise StateError(msg)
    patient = Patient(stored.patient_id, stored.anchor)
    for name in _PLAIN:
        setattr(patient, name, getattr(stored, name))
    if stored.told is None:  # stored before it was kept
        patient.told = Told(patient.stay, patient.silent_stay, patient.closed)
    patient.corrected = frozenset(stored.corrected)
    patient.looks = set(stored.looks)
    return patient


def encode_log(entries: list[tuple[object, ...]]) -> bytes:
    return msgspec.msgpack.encode(entries)


def full(patient: Patient) -> bytes:
    """The readings of a patient as they are, to replace the log."""
    columns = [
        (
            name, series.at.tobytes(), series.value.tobytes(), series.effective.tobytes(), series.available.tobytes(),
            series.usable.tobytes(), series.meta, series.ids, series.older,
        )
        for name, series in sorted(patient.series.items())
    ]  # fmt: skip
    return msgspec.msgpack.encode([("f", columns, sorted(patient.versions.items()))])


def replay_log(folding: Fold, patient: Patient, segment: bytes) -> None:
    """Do to a patient what a segment of its log says was done."""
    try:
        for kind, *entry in msgspec.msgpack.decode(segment):
            _APPLY[kind](folding, patient, entry)
    except (msgspec.DecodeError, KeyError, TypeError, ValueError) as error:
        msg = f"a stored segment of readings cannot be read ({type(error).__name__}); expected format {FORMAT}"
        raise StateError(msg) from None


def reading_of(entry: list[Any]) -> Reading:
    at, value, effective_at, available_at, meta, observation_id = entry
    return Reading(at, value, effective_at, available_at, _meta(meta), observation_id)


def _meta(stored: list[Any]) -> Meta:
    site, flags, reference_high, source, rank = stored
    return Meta(site, tuple(flags), reference_high, source, rank)


def _put(folding: Fold, patient: Patient, entry: list[Any]) -> None:
    name, *rest = entry
    reading = reading_of(rest)
    folding.series(patient, name).insert(reading)
    if reading.observation_id is not None:
        patient.versions[reading.observation_id] = Version(
            name, reading.at, reading.value, reading.meta.rank, reading.available_at
        )


def _take(folding: Fold, patient: Patient, entry: list[Any]) -> None:
    name, at, value, *which = entry
    series = folding.series(patient, name)
    for k in series.between(at - 1, at):
        if series.value[k] == value and (not which or series.ids[k] == which[0]):
            series.remove(k)
            return


def _version(_folding: Fold, patient: Patient, entry: list[Any]) -> None:
    identity, *version = entry
    patient.versions[identity] = Version(*version)


def _summarise(folding: Fold, patient: Patient, entry: list[Any]) -> None:
    summarise(folding.catalogue, patient, entry[0])


def _columns(folding: Fold, patient: Patient, entry: list[Any]) -> None:
    columns, versions = entry
    for name, at, value, effective, available, usable, meta, ids, older in columns:
        series = folding.series(patient, name)
        for column, stored in ((series.at, at), (series.value, value), (series.effective, effective),
                               (series.available, available), (series.usable, usable)):  # fmt: skip
            assert isinstance(column, array)
            column.frombytes(stored)
        series.meta = [_meta(m) for m in meta]
        series.ids = list(ids)
        series.older = [Hour(*hour) for hour in older]
        series.count_hours()
    patient.versions = {identity: Version(*version) for identity, version in versions}


_APPLY = {"r": _put, "x": _take, "v": _version, "c": _summarise, "f": _columns}
