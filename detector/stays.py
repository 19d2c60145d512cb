"""Stays: how one opens, what is said of it, and how it ends.

Encounter events may come late, twice, or together in one instant. What counts is when they say something happened
(``at``), never when they arrived: an older admission does not end a newer stay, a discharge does not end a stay that
began after it, and of two descriptions the newer one holds.
"""

from __future__ import annotations

import msgspec
from msgspec import structs

from detector.catalogue.signals import Catalogue
from detector.events import EARLIEST, Condition, Encounter, Observation
from detector.patient import Patient, Seen, Stay, Told

MOST_CLOSED = 16
MOST_TOLD = 8
"""So many encounter events (and stays that observations name) of one instant are folded in an order of their own; what
is more is folded as it comes, so that a patient's head stays below 16 kB (DESIGN.md 1)."""

MOST_CONDITIONS = 32

Ignored = str
"""Why an encounter event changes nothing, a value of the ``reason`` label of events_ignored_total."""


def seen(patient: Patient, event: Observation) -> bool:
    """An observation keeps a stay open, or opens one unless it belongs to one that is closed.

    Returns:
        whether the stay is another one now.
    """
    told, before = patient.told, patient.stay
    heard = _heard(told.seen, event)
    if heard is not told.seen:
        _note(patient, told._replace(seen=heard))
    if before is not None and told.stay is not None and not told.encounters:
        patient.stay = touched(before, event.available_at)
        return False
    _fold_again(patient)
    return patient.stay is not None and (before is None or patient.stay != touched(before, patient.stay.newest_at))


def encounter(patient: Patient, event: Encounter) -> tuple[Ignored | None, bool]:
    """Fold an admission, a transfer or a discharge: (why it was ignored, or None; whether it took the place of another
    stay).

    Whatever was said of stays in this instant is folded again, in an order of its own, from what was known when the
    instant began: so the order in which it came cannot matter.
    """
    plain = structs.replace(event, position=None)
    if plain in patient.told.encounters:
        return "duplicate", False
    before = patient.stay
    _note(patient, patient.told._replace(encounters=(*patient.told.encounters, plain)))
    ignored, another = _fold_again(patient, plain)
    return (None if patient.stay != before else ignored), another


def gain(patient: Patient, stay: Stay) -> None:
    """The stay of a patient id that was merged into this one goes on here."""
    _note(patient, patient.told._replace(gained=(*patient.told.gained, stay)))
    _fold_again(patient)


def touch(patient: Patient, at: int) -> None:
    """A pump or a treatment was heard of at an instant: it keeps a stay open, and opens none."""
    if patient.told.touched_at < at:
        patient.told = patient.told._replace(touched_at=at)
    if patient.stay is not None:
        patient.stay = touched(patient.stay, at)


def begin_anew(patient: Patient) -> None:
    """What was said of stays in this instant is settled, however it came."""
    patient.told = Told(patient.stay, patient.silent_stay, patient.closed)


def _note(patient: Patient, told: Told) -> None:
    if max(len(told.encounters), len(told.seen), len(told.gained)) > MOST_TOLD:
        begin_anew(patient)
        told = patient.told._replace(
            encounters=told.encounters[-1:], seen=told.seen[-1:], gained=told.gained[-1:], touched_at=told.touched_at
        )
    patient.told = told


def _heard(known: tuple[Seen, ...], event: Observation) -> tuple[Seen, ...]:
    at = min(event.effective_at, event.available_at)
    for k, one in enumerate(known):
        if one.stay_id == event.stay_id:
            more = Seen(one.stay_id, min(one.first_at, at), max(one.last_at, event.effective_at),
                        max(one.newest_at, event.available_at))  # fmt: skip
            return known if more == one else (*known[:k], *known[k + 1 :], more)
    return (*known, Seen(event.stay_id, at, event.effective_at, event.available_at))


def _fold_again(patient: Patient, asked: Encounter | None = None) -> tuple[Ignored | None, bool]:
    """The stays after all that was said of them in this instant; what became of the encounter event asked for."""
    told = patient.told
    patient.stay, patient.silent_stay, patient.closed = told.stay, told.silent_stay, told.closed
    became: tuple[Ignored | None, bool] = (None, False)
    for event in sorted(told.encounters, key=_order):
        outcome = _FOLDS[event.event](patient, event)
        became = outcome if event is asked else became
    for stay in sorted(told.gained, key=lambda one: (one.began_at, one.stay_id or "")):
        patient.stay = stay if patient.stay is None else completed(patient.stay, stay)
    for one in sorted(told.seen, key=lambda one: (one.stay_id is None, one.first_at, one.stay_id or "")):
        _seen(patient, one)
    if patient.stay is not None:
        patient.stay = touched(patient.stay, told.touched_at)
    return became


def _order(event: Encounter) -> tuple[object, ...]:
    kinds = ("discharged", "admitted", "transferred")
    return event.at, kinds.index(event.event), event.available_at, event.stay_id, msgspec.json.encode(event)


def _seen(patient: Patient, one: Seen) -> None:
    if patient.stay is not None:
        patient.stay = touched(patient.stay, one.newest_at)
        return
    began_at = one.first_at
    if one.stay_id is not None and one.stay_id in patient.closed:
        return
    if one.stay_id is None and patient.closed:
        closed_at = max(patient.closed.values())
        if one.last_at <= closed_at:
            return
        began_at = one.first_at if one.first_at > closed_at else min(one.last_at, one.newest_at)
    patient.stay = _opened(patient, one.stay_id, began_at, one.newest_at)


def _admit(patient: Patient, event: Encounter) -> tuple[Ignored | None, bool]:
    stay = patient.stay
    closed_at = patient.closed.get(event.stay_id)
    if closed_at is not None and event.available_at <= closed_at:
        return "stay_closed", False
    another = stay is not None and stay.stay_id not in (None, event.stay_id)
    if another and stay is not None and (event.at, event.stay_id) < (stay.began_at, stay.stay_id or ""):
        _remember_closed(patient, event.stay_id, event.available_at)
        return "older_stay", False
    taken_back = patient.closed.get(event.stay_id, EARLIEST)  # a discharge, or a stay gone back to
    patient.closed = {stay_id: at for stay_id, at in patient.closed.items() if stay_id != event.stay_id}
    if another and stay is not None:
        # admitted again without a discharge: the stay changes, an open alert goes on
        _remember_closed(patient, stay.stay_id, event.available_at)
        stay = None
    if stay is None:
        stay = _opened(patient, event.stay_id, event.at, event.available_at)
    else:
        began_at = event.at if stay.admitted_at is None else max(stay.began_at, event.at)
        stay = structs.replace(stay, began_at=began_at)
    stay = structs.replace(stay, admitted_at=stay.began_at, reopened_after=max(stay.reopened_after, taken_back))
    patient.stay = _described(stay, event)
    return None, another


def _transfer(patient: Patient, event: Encounter) -> tuple[Ignored | None, bool]:
    stay = patient.stay
    if stay is None or not _belongs(stay, event):
        return "no_such_stay", False
    patient.stay = _described(stay, event)
    return None, False


def _discharge(patient: Patient, event: Encounter) -> tuple[Ignored | None, bool]:
    stay = patient.stay
    if stay is not None and stay.stay_id == event.stay_id and event.available_at <= stay.reopened_after:
        return "duplicate", False
    if stay is None or not _belongs(stay, event):
        if stay is None:
            patient.silent_stay = None
        if stay is None or stay.stay_id != event.stay_id:
            _remember_closed(patient, event.stay_id, event.available_at)
        return "no_such_stay", False
    patient.stay = _described(stay, event)
    close(patient, event.available_at)
    return None, False


_FOLDS = {"admitted": _admit, "transferred": _transfer, "discharged": _discharge}


def close(patient: Patient, at: int, *, silent: bool = False) -> None:
    """End the stay. The history stays: a pump registered later, or the next stay, is judged on it.

    A stay that ended by silence alone (a feed may have failed) goes on with its next observation.
    """
    if silent:
        patient.silent_stay = patient.stay
    elif patient.stay is not None:
        _remember_closed(patient, patient.stay.stay_id, at)
    patient.stay = None


def touched(stay: Stay, at: int) -> Stay:
    """The stay after something of it became known at an instant."""
    return stay if at <= stay.newest_at else structs.replace(stay, newest_at=at)


def unusable(catalogue: Catalogue, event: Encounter) -> tuple[Encounter, list[Ignored]]:
    """The event without what cannot be: it must neither grow a patient nor be calculated with."""
    why: list[Ignored] = []
    baseline = {}
    for name, value in event.baseline.items():
        signal = catalogue.signals.get(name)
        if signal is None:
            why.append("unknown_baseline")
        elif not signal.plausible.low <= value <= signal.plausible.high:
            why.append("implausible_baseline")
        else:
            baseline[name] = value
    weight, age = event.weight_kg, event.age_years
    if weight is not None and weight <= 0:
        weight = None
        why.append("implausible_weight")
    if age is not None and age < 0:
        age = None
        why.append("implausible_age")
    return (structs.replace(event, baseline=baseline, weight_kg=weight, age_years=age) if why else event), why


def completed(mine: Stay, theirs: Stay) -> Stay:
    """A stay with what is known of it under another patient id; where both know something, the newer one holds."""
    said = dict(mine.said)
    values = {name: getattr(mine, name) for name in _FIELDS}
    baseline = dict(mine.baseline)
    for name, stamp in theirs.said.items():
        if stamp > said.get(name, (EARLIEST, "")):
            said[name] = stamp
            if name in values:
                values[name] = getattr(theirs, name)
            else:
                baseline[name] = theirs.baseline[name]
    return structs.replace(
        mine, **values, baseline=baseline, said=said, conditions=_joined(mine.conditions, theirs.conditions)
    )


_FIELDS = ("unit", "age_years", "sex", "weight_kg")


def _described(stay: Stay, event: Encounter) -> Stay:
    """A stay with what an encounter event says of it; what the event leaves out stays as it was."""
    said = {name: value for name in _FIELDS if (value := getattr(event, name)) not in (None, "")}
    new = Stay(
        stay_id=event.stay_id, opened_at=stay.opened_at, newest_at=stay.newest_at, began_at=stay.began_at, **said,
        baseline=event.baseline, conditions=event.conditions,
        said={name: (event.at, str(value)) for name, value in (*said.items(), *event.baseline.items())},
    )  # fmt: skip
    whole = completed(stay, new)
    return structs.replace(whole, stay_id=event.stay_id, newest_at=max(stay.newest_at, event.available_at))


def _joined(mine: tuple[Condition, ...], theirs: tuple[Condition, ...]) -> tuple[Condition, ...]:
    newest: dict[str, Condition] = {}
    for known in (*mine, *theirs):
        before = newest.get(known.code)
        if before is None or (known.since or EARLIEST) > (before.since or EARLIEST):
            newest[known.code] = known
    return tuple(newest[code] for code in sorted(newest))[-MOST_CONDITIONS:]


def _belongs(stay: Stay, event: Encounter) -> bool:
    """Whether an event is about the open stay: it names it, or the stay has no name yet, and it is not older."""
    return stay.stay_id in (None, event.stay_id) and event.at >= stay.began_at


def _opened(patient: Patient, stay_id: str | None, began_at: int, available_at: int) -> Stay:
    """A new stay; one that was closed by silence alone goes on with what was known of it."""
    known, patient.silent_stay = patient.silent_stay, None
    if known is None or (stay_id is not None and stay_id != known.stay_id):
        return Stay(stay_id, patient.now, available_at, began_at=began_at)
    return structs.replace(known, newest_at=available_at)


def _remember_closed(patient: Patient, stay_id: str | None, at: int) -> None:
    known = {**patient.closed, stay_id or "": max(at, patient.closed.get(stay_id or "", at))}
    kept = sorted(known, key=lambda one: (known[one], one))[-MOST_CLOSED:]
    patient.closed = {one: known[one] for one in kept}
