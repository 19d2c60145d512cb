"""Versions of one observation: which of them is the reading, whatever the order they arrive in (guard G-3).

An observation with an id is known by it. One without is known by what it says; where a correction or withdrawal
without an id took such a reading out, a mark under its content remembers it, so that the same record told again
changes nothing.
"""

from __future__ import annotations

from detector.clean import RANKS, WITHDRAWN
from detector.events import EARLIEST, Observation
from detector.patient import STORE_WHOLE, Left, Patient, Version
from detector.reading import Reading
from detector.windows import Series

CORRECTED = RANKS["corrected"]
MOST_LEFT = 8
"""So many readings that ids left in one instant are remembered in it, so that a patient's head stays below 16 kB
(DESIGN.md 1).
"""

NONE: frozenset[str] = frozenset()


def put(patient: Patient, name: str, series: Series, reading: Reading) -> tuple[str, frozenset[str]]:
    """Put in a reading, or the newer version of one.

    Returns:
        the outcome (``clean.REASONS``), and the signals that changed: a version may speak of another signal than the
        one before it, and the same reading told again may say more of itself (a flag).
    """
    if reading.observation_id is not None:
        return _put_version(patient, name, series, reading)
    mark = patient.versions.get(_content(name, reading.effective_at, reading.value)) if patient.versions else None
    if reading.meta.rank == CORRECTED:
        if mark is not None and (mark.rank, mark.available_at) >= (CORRECTED, reading.available_at):
            return "superseded", NONE
        return _put_correction(patient, name, series, reading)
    if mark is not None:
        return "superseded", NONE
    if series.told_before(reading) or not series.insert(reading):
        return "duplicate", _join(patient, name, series, reading)
    patient.unsaved.append(("r", name, *reading))
    return "accepted", frozenset({name})


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
        if known.available_at < event.available_at:
            _note(patient, event.observation_id, known._replace(available_at=event.available_at))
        return "duplicate", None
    if known is not None:
        _take_out(patient, event.observation_id, known)
    _note(patient, event.observation_id, Version(name, at, 0.0, WITHDRAWN, event.available_at))
    return "removed", known.signal if known is not None else None


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
    _note(patient, identity, Version(name, at, 0.0, CORRECTED, event.available_at))
    return known.signal if known is not None else None


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
            if theirs.order <= mine.order:
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


def _put_version(patient: Patient, name: str, series: Series, reading: Reading) -> tuple[str, frozenset[str]]:
    identity = reading.observation_id
    assert identity is not None
    version = Version(name, reading.at, reading.value, reading.meta.rank, reading.available_at)
    known = patient.versions.get(identity)
    if known is not None:
        same = (version.signal, version.value) == (known.signal, known.value) and _is_shown(patient, identity, reading)
        if same:
            newest = max(known, version, key=lambda one: one.order)
            if newest != known:
                _note(patient, identity, newest._replace(at=min(known.at, version.at)))
            return "duplicate", _join(patient, name, series, reading)
        if version.order <= known.order:
            if (version.signal, version.value) != (known.signal, known.value):
                return "superseded", _claim(patient, name, series, reading)
            return "duplicate" if (version.rank, version.value) == (known.rank, known.value) else "superseded", NONE
        _take_out(patient, identity, known)
    brought = _bring_back(patient, name, series, reading)
    if series.told_before(reading) or not series.insert(reading):
        _note(patient, identity, version)
        joined = brought | _join(patient, name, series, reading)
        if known is None:
            return "duplicate", joined
    else:
        patient.versions[identity] = version
        patient.unsaved.append(("r", name, *reading))
    return ("accepted", frozenset({name})) if known is None else ("corrected", frozenset({name, known.signal}))


def _claim(patient: Patient, name: str, series: Series, reading: Reading, *, stood: bool = False) -> frozenset[str]:
    """An id said this once and says something else now: told without an id, it is the same observation and stays out.

    ``stood``: it was the reading of the id until now. The answer is the signals that changed.
    """
    k = series.twin(reading)
    if k is not None and series.ids[k] is not None:
        return NONE  # another id says it still
    content = _content(name, reading.effective_at, reading.value)
    is_marked = content not in patient.versions
    if is_marked:
        _note(patient, content, Version(name, reading.at, 0.0, CORRECTED, EARLIEST))
    left = Left(name, reading if k is None else series.reading(k), stood or k is not None, is_marked)
    patient.left = tuple(sorted((*patient.left, left), key=_left_order)[-MOST_LEFT:])
    if k is None:
        return NONE
    _drop(patient, name, series, k)
    return frozenset({name})


def _bring_back(patient: Patient, name: str, series: Series, reading: Reading) -> frozenset[str]:
    """An id says what another has left in this very instant: that stands again, for this one to join, and is not kept
    out, as if this id had spoken first. The answer is the signals that changed.
    """
    for left in patient.left:
        there = left.reading
        if (left.signal, there.effective_at, there.value, there.meta.site) != (
            name, reading.effective_at, reading.value, reading.meta.site,
        ):  # fmt: skip
            continue
        patient.left = tuple(other for other in patient.left if other is not left)
        content = _content(name, there.effective_at, there.value)
        if left.is_marked and content in patient.versions and patient.versions[content].available_at == EARLIEST:
            del patient.versions[content]
            patient.saved_segments = STORE_WHOLE  # the log cannot say that a version went
        if left.was_kept and series.insert(there._replace(observation_id=None)):
            patient.unsaved.append(("r", name, *there._replace(observation_id=None)))
            return frozenset({name})
        return NONE
    return NONE


def _left_order(left: Left) -> tuple[object, ...]:
    there = left.reading
    return left.signal, there.effective_at, there.value, there.meta.site or "", there.available_at


def _join(patient: Patient, name: str, series: Series, reading: Reading) -> frozenset[str]:
    """The same reading was told again: it counts from when it was first known, with every flag it was given and under
    an id if it has one, whatever the order it was told in. The answer is the signals that changed.
    """
    k = series.twin(reading)
    if k is None:
        return NONE
    there = series.reading(k)
    ids = [one for one in (there.observation_id, reading.observation_id) if one is not None]
    first = min(there, reading, key=_first_told)
    joined = first._replace(
        at=min(there.at, reading.at),
        observation_id=min(ids, default=None),
        meta=first.meta._replace(
            flags=tuple(sorted({*there.meta.flags, *reading.meta.flags})), rank=max(there.meta.rank, reading.meta.rank)
        ),
    )
    if joined == there:
        return NONE
    _drop(patient, name, series, k)
    series.insert(joined)
    patient.unsaved.append(("r", name, *joined))
    for identity in ids:
        if identity in patient.versions:
            _note(patient, identity, patient.versions[identity]._replace(at=joined.at))
    unseen = joined._replace(observation_id=there.observation_id, meta=joined.meta._replace(rank=there.meta.rank))
    return NONE if unseen == there else frozenset({name})


def _first_told(reading: Reading) -> tuple[object, ...]:
    meta = reading.meta
    return reading.available_at, meta.source or "", meta.reference_high is None, meta.reference_high or 0.0


def _put_correction(patient: Patient, name: str, series: Series, reading: Reading) -> tuple[str, frozenset[str]]:
    """A correction without an id replaces the only reading of its instant; two or none are ambiguous."""
    there = series.find(reading.effective_at)
    if len(there) != 1:
        return "ambiguous_correction", NONE
    old = series.reading(there[0])
    if old.value == reading.value:
        return "duplicate", NONE
    known = patient.versions.get(old.observation_id) if old.observation_id is not None else None
    stands = known.order[:3] if known is not None else (old.meta.rank, old.available_at, old.value)
    if stands >= (CORRECTED, reading.available_at, reading.value):
        return "superseded", NONE
    _drop(patient, name, series, there[0])
    _mark(patient, name, old, Version(name, old.at, 0.0, CORRECTED, reading.available_at))
    corrected = reading._replace(observation_id=old.observation_id)  # it goes on under the id it had
    if corrected.observation_id is not None:
        patient.versions[corrected.observation_id] = Version(
            name, reading.at, reading.value, CORRECTED, reading.available_at
        )
    series.insert(corrected)
    patient.unsaved.append(("r", name, *corrected))
    return "corrected", frozenset({name})


def _is_shown(patient: Patient, identity: str, reading: Reading) -> bool:
    """Whether what an id says now is this very measurement: value, time and site."""
    known = patient.versions[identity]
    series = patient.series[known.signal]
    return known.rank < WITHDRAWN and any(
        (series.effective[k], series.value[k], series.meta[k].site)
        == (reading.effective_at, reading.value, reading.meta.site)
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
            if twin is None:
                _claim(patient, known.signal, series, reading, stood=True)
            else:
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
