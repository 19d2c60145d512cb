"""Admissions, transfers, discharges and merges: ADT messages to encounters (v2.8.2 chapter 3.3).

The contract has four words, so two kinds of message are told by what they come to: a discharge that is cancelled (A13)
is the same stay admitted again, and an admission that is cancelled (A11) ends the stay as a discharge does.
"""

from __future__ import annotations

from typing import Final, Literal

from detector.errors import InputError
from detector.events import Encounter, EncounterKind
from pipelines.formats.hl7v2.instants import years_between
from pipelines.formats.hl7v2.people import identifier, stay_id
from pipelines.formats.hl7v2.scope import Scope
from pipelines.formats.hl7v2.segments import Message, Segment
from pipelines.settings import Hl7v2

EVENTS: Final[dict[str, EncounterKind]] = {
    "A01": "admitted",
    "A02": "transferred",
    "A03": "discharged",
    "A08": "transferred",  # an update: where the patient is, and what is known of him
    "A11": "discharged",
    "A12": "transferred",  # PV1-3 is where the patient was before, and is again
    "A13": "admitted",
    "A40": "merged",
}

SEXES: Final[dict[str, Literal["female", "male", "other", "unknown"]]] = {
    "F": "female", "M": "male", "O": "other", "U": "unknown", "A": "other", "N": "other"
}  # fmt: skip
"""Table 0001."""

_TIMES: Final[dict[EncounterKind, tuple[tuple[str, int], ...]]] = {
    "admitted": (("PV1", 44), ("EVN", 6), ("EVN", 2)),
    "transferred": (("EVN", 6), ("EVN", 2)),
    "discharged": (("PV1", 45), ("EVN", 6), ("EVN", 2)),
    "merged": (("EVN", 6), ("EVN", 2)),
}
"""Where it says when something happened, best first; EVN-2 is when it was recorded."""


def trigger(message: Message) -> str:
    """The event of an ADT message: MSH-9, or EVN-1 where that leaves it out."""
    named = message.header.text(9, 2)
    return named or next((one.text(1) for one in message.segments if one.name == "EVN"), "")


def read(scope: Scope, message: Message) -> None:
    """Add what an ADT message says of a stay, or why it says nothing."""
    code = trigger(message)
    event = EVENTS[code]
    parts = message.segments
    first = {name: next((one for one in parts if one.name == name), None) for name in ("EVN", "PV1", "PID")}
    try:
        at = _at(scope, first, event)
        if event == "merged":
            _merges(scope, message, at)
            return
        person, visit, rules = first["PID"], first["PV1"], scope.site.hl7v2
        if person is None:
            raise InputError("missing_key", "PID: expected one")
        patient = identifier(person, 3, rules).patient_id
        stay = stay_id(person, visit, rules)
        if stay is None:
            raise InputError("no_stay" if code == "A08" else "missing_key", f"{rules.stay_id}: expected the stay")
        scope.events.append(
            Encounter(
                patient_id=patient,
                stay_id=stay,
                event=event,
                at=at,
                available_at=at if scope.filed_at is None else scope.filed_at,
                unit=(visit.word(3) or None) if visit is not None else None,
                bed=(visit.word(3, 3) or visit.word(3, 2) or None) if visit is not None else None,
                age_years=years_between(person.text(7), at),
                sex=SEXES.get(person.text(8)),
                position=scope.position,
            )
        )
    except InputError as error:
        scope.refuse(error, f"ADT {code}")


def _at(scope: Scope, first: dict[str, Segment | None], event: EncounterKind) -> int:
    """When it happened.

    Raises:
        InputError: ``no_time``; ``date_only`` or ``bad_time`` where nothing better is said.
    """
    refused = InputError("no_time", "EVN-6, EVN-2: expected one of them")
    for name, number in _TIMES[event]:
        segment = first[name]
        written = segment.text(number) if segment is not None else ""
        if not written:
            continue
        try:
            return scope.instant(written)
        except InputError as error:
            refused = InputError(error.reason, f"{name}-{number}: {error}")
    raise refused


def _merges(scope: Scope, message: Message, at: int) -> None:
    """The id of each MRG goes into that of the PID before it."""
    rules: Hl7v2 = scope.site.hl7v2
    person: Segment | None = None
    found = False
    for segment in message.segments:
        if segment.name == "PID":
            person = segment
        elif segment.name == "MRG":
            found = True
            try:
                if person is None:
                    raise InputError("missing_key", "PID: expected one before MRG")
                into, gone = identifier(person, 3, rules), identifier(segment, 1, rules)
                if into.kind and not gone.kind:  # it may have been cut, and nobody must be merged by half a number
                    raise InputError("missing_key", "MRG-1: expected an identifier with a type, as in PID-3")
                scope.events.append(
                    Encounter(
                        patient_id=gone.patient_id,
                        stay_id="",
                        event="merged",
                        at=at,
                        available_at=at if scope.filed_at is None else scope.filed_at,
                        into=into.patient_id,
                        position=scope.position,
                    )
                )
            except InputError as error:
                scope.refuse(error, "ADT A40")
    if not found:
        raise InputError("missing_key", "MRG: expected the id that was merged away")
