"""Versions of one observation: which of them is the reading, whatever the order they arrive in (guard G-3).

An observation with an id is known by it. One without is known by what it says; where a correction or withdrawal
without an id took such a reading out, a mark under its content remembers it, so that the same record told again
changes nothing.
"""

from __future__ import annotations

from detector.clean import RANKS, WITHDRAWN
from detector.events import Observation
from detector.patient import Patient, Version
from detector.reading import Reading
from detector.windows import Series

CORRECTED = RANKS["corrected"]


def put(patient: Patient, name: str, series: Series, reading: Reading) -> str:
    """Put in a reading, or the newer version of one; the answer is the outcome (``clean.REASONS``)."""
    if reading.observation_id is not None:
        return _put_version(patient, name, series, reading)
    mark = patient.versions.get(_content(name, reading.effective_at, reading.value)) if patient.versions else None
    if reading.meta.rank == CORRECTED:
        if mark is not None and (mark.rank, mark.available_at) >= (CORRECTED, reading.available_at):
            return "superseded"
        return _put_correction(patient, name, series, reading)
    if mark is not None:
        return "superseded"
    if series.told_before(reading) or not series.insert(reading):
        return "duplicate"
    patient.unsaved.append(("r", name, *reading))
    return "accepted"


def withdraw(patient: Patient, name: str, series: Series, event: Observation) -> tuple[str, str | None]:
    """Entered in error or cancelled: the reading goes, and an original that arrives later stays out.

    Returns:
        the outcome, and the signal that changed (None = none).
    """
    at = min(event.effective_at, event.available_at)
    if event.observation_id is None:
        there = series.find(event.effective_at)
        if len(there) != 1:
            return "ambiguous_correction", None
        gone = series.reading(there[0])
        _drop(patient, name, series, there[0])
        if gone.observation_id is not None:
            _note(patient, gone.observation_id, Version(name, gone.at, 0.0, WITHDRAWN, event.available_at))
        _mark(patient, name, gone, Version(name, gone.at, 0.0, WITHDRAWN, event.available_at))
        return "removed", name
    known = patient.versions.get(event.observation_id)
    if known is not None and known.rank == WITHDRAWN:
        return "duplicate", None
    if known is not None:
        _take_out(patient, event.observation_id, known)
    signal = known.signal if known is not None else name
    _note(patient, event.observation_id, Version(signal, at, 0.0, WITHDRAWN, event.available_at))
    return "removed", signal if known is not None else None


def retract(patient: Patient, name: str, event: Observation) -> str | None:
    """A correction to something that cannot be used still says that the value before it was wrong: that goes.

    Returns:
        the signal that changed; None = none.
    """
    identity = event.observation_id
    if identity is None or RANKS[event.status] != CORRECTED:
        return None
    known = patient.versions.get(identity)
    if known is not None and (known.rank, known.available_at) >= (CORRECTED, event.available_at):
        return None
    if known is not None:
        _take_out(patient, identity, known)
    at = min(event.effective_at, event.available_at)
    signal = known.signal if known is not None else name
    _note(patient, identity, Version(signal, at, 0.0, CORRECTED, event.available_at))
    return signal if known is not None else None


def is_kept(patient: Patient, name: str, event: Observation) -> bool:
    """Whether the reading that a correction or a withdrawal speaks of is still there."""
    if event.observation_id is not None:
        known = patient.versions.get(event.observation_id)
        return known is not None and known.rank < WITHDRAWN
    series = patient.series.get(name)
    return series is not None and len(series.find(event.effective_at)) == 1


def merge(patient: Patient, other: Patient) -> tuple[set[str], set[str]]:
    """Take over what another patient id knows of versions: of each observation the newest holds.

    Returns:
        the ids (and marks) that hold as the other knew them, and the signals of which a reading went.
    """
    wins: set[str] = set()
    changed: set[str] = set()
    for identity, theirs in sorted(other.versions.items()):
        mine = patient.versions.get(identity)
        if mine is not None:
            if (theirs.rank, theirs.available_at, theirs.value) <= (mine.rank, mine.available_at, mine.value):
                continue
            _take_out(patient, identity, mine)
            changed.add(mine.signal)
        elif identity.startswith("\0") and _unmark(patient, identity, theirs):
            changed.add(theirs.signal)
        patient.versions[identity] = theirs
        wins.add(identity)
    return wins, changed


def is_taken_back(patient: Patient, name: str, reading: Reading) -> bool:
    """Whether a reading without an id was corrected or withdrawn before."""
    return _content(name, reading.effective_at, reading.value) in patient.versions


def _unmark(patient: Patient, identity: str, theirs: Version) -> bool:
    series = patient.series.get(theirs.signal)
    if series is None:
        return False
    for k in series.between(theirs.at - 1, theirs.at):
        content = _content(theirs.signal, series.effective[k], series.value[k])
        if series.ids[k] is None and identity == content:
            _drop(patient, theirs.signal, series, k)
            return True
    return False


def _put_version(patient: Patient, name: str, series: Series, reading: Reading) -> str:
    identity = reading.observation_id
    assert identity is not None
    version = Version(name, reading.at, reading.value, reading.meta.rank, reading.available_at)
    known = patient.versions.get(identity)
    if known is not None:
        if known == version:
            return "duplicate"
        if (version.rank, version.available_at, version.value) <= (known.rank, known.available_at, known.value):
            return "duplicate" if (version.rank, version.value) == (known.rank, known.value) else "superseded"
        if (version.signal, version.value) == (known.signal, known.value) and _same_time(patient, identity, reading):
            _note(patient, identity, version._replace(at=known.at))
            return "duplicate"
        _take_out(patient, identity, known)
    patient.versions[identity] = version
    inserted = series.insert(reading)
    if not inserted:
        _name_it(patient, name, series, reading)
    patient.unsaved.append(("r", name, *reading))
    if not inserted:
        return "duplicate"
    return "accepted" if known is None else "corrected"


def _name_it(patient: Patient, name: str, series: Series, reading: Reading) -> None:
    """The same result came without an id before: it is known by its id from here on, whichever came first."""
    for k in series.between(reading.at - 1, reading.at):
        same = (series.value[k], series.meta[k].site, series.effective[k]) == (
            reading.value, reading.meta.site, reading.effective_at
        )  # fmt: skip
        if same and series.ids[k] is None:
            _drop(patient, name, series, k)
            series.insert(reading)
            return


def _put_correction(patient: Patient, name: str, series: Series, reading: Reading) -> str:
    """A correction without an id replaces the only reading of its instant; two or none are ambiguous."""
    there = series.find(reading.effective_at)
    if len(there) != 1:
        return "ambiguous_correction"
    old = series.reading(there[0])
    if old.value == reading.value:
        return "duplicate"
    known = patient.versions.get(old.observation_id) if old.observation_id is not None else None
    stands = (
        (known.rank, known.available_at, known.value) if known is not None
        else (old.meta.rank, old.available_at, old.value)
    )  # fmt: skip
    if stands >= (CORRECTED, reading.available_at, reading.value):
        return "superseded"
    _drop(patient, name, series, there[0])
    _mark(patient, name, old, Version(name, old.at, 0.0, CORRECTED, reading.available_at))
    corrected = reading._replace(observation_id=old.observation_id)  # it goes on under the id it had
    if corrected.observation_id is not None:
        patient.versions[corrected.observation_id] = Version(
            name, reading.at, reading.value, CORRECTED, reading.available_at
        )
    series.insert(corrected)
    patient.unsaved.append(("r", name, *corrected))
    return "corrected"


def _same_time(patient: Patient, identity: str, reading: Reading) -> bool:
    known = patient.versions[identity]
    series = patient.series[known.signal]
    return any(
        series.ids[k] == identity and series.effective[k] == reading.effective_at
        for k in series.between(known.at - 1, known.at)
    )


def _take_out(patient: Patient, identity: str, known: Version) -> None:
    """Take out the reading of an id; another id that said the very same takes its place."""
    series = patient.series.get(known.signal)
    if series is None:
        return
    there = series.between(known.at - 1, known.at)
    for k in there:
        if series.ids[k] == identity:
            twin = _twin(patient, identity, known, {series.ids[other] for other in there})
            reading = series.reading(k)
            _drop(patient, known.signal, series, k)
            if twin is not None:
                stands = reading._replace(observation_id=twin)
                series.insert(stands)
                patient.unsaved.append(("r", known.signal, *stands))
                _note(patient, twin, patient.versions[twin])
            return


def _twin(patient: Patient, identity: str, known: Version, shown: set[str | None]) -> str | None:
    content = (known.signal, known.at, known.value)
    return min(
        (
            other
            for other, version in patient.versions.items()
            if (version.signal, version.at, version.value) == content
            and version.rank < WITHDRAWN
            and other != identity
            and other not in shown
        ),
        default=None,
    )


def _drop(patient: Patient, name: str, series: Series, k: int) -> None:
    patient.unsaved.append(("x", name, series.at[k], series.value[k], series.ids[k]))
    series.remove(k)


def _note(patient: Patient, identity: str, version: Version) -> None:
    patient.versions[identity] = version
    patient.unsaved.append(("v", identity, *version))


def _mark(patient: Patient, name: str, old: Reading, version: Version) -> None:
    if old.observation_id is None:
        _note(patient, _content(name, old.effective_at, old.value), version)


def _content(name: str, effective_at: int, value: float) -> str:
    """What stands for the id of an observation that has none; no id begins with a NUL."""
    return f"\0{name}@{effective_at}={value!r}"
