"""A course of a patient written for people: lines of text to events, and a bed in which they are run.

The examples of the rules and the published cases of the tests are written in it. One line is one event:

    0:30 temp 39.1                              a reading, in the catalogue's unit
    -6:00 temp 107.0 degF site=rectal           hours and minutes from a zero of one's own; unit; options
    1:00 plt 45 flags=clumped arrives=2:10      options: site, flags, id, status, uln, arrives
    0:00 context vasopressor started            kind, what happened; options: dose, arrives
    0:00 pump alarm level=critical              event; options are the fields of the event
    24:00 stay discharged
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, get_args

import msgspec
from msgspec import Struct, structs

from detector.catalogue.signals import Catalogue
from detector.catalogue.strict import Problems, typed
from detector.clock import DAY, HOUR, MINUTE
from detector.engine import Ward, run
from detector.errors import InputError, nearest
from detector.events import (
    CONTEXT_KINDS,
    PUMP_KINDS,
    Condition,
    Context,
    ContextChange,
    Encounter,
    EncounterKind,
    Observation,
    PatientEvent,
    Pump,
    Ticked,
)  # fmt: skip
from detector.features import Feature, columns
from detector.ledger import Ledger
from detector.plan import Plan
from detector.records import AlertRecord, Severity
from detector.rules.truth import WORDS
from detector.scoring import FeatureRow, Score, Scorer, Scores

ZERO = 1_772_409_600_000  # 2026-03-02T00:00Z: what 0:00 stands for; any whole minute would do
PATIENT, STAY = "example", "example-stay"

_TIME = re.compile(r"(-?)(\d{1,5}):([0-5]\d)")
_TOPICS: tuple[type[PatientEvent], ...] = (Encounter, Pump, Context, Observation)
_READING_OPTIONS = ("site", "flags", "id", "status", "uln", "arrives")


class PatientWritten(Struct, frozen=True):
    """Who the patient is. ``pump`` is what is known of one before the first event."""

    age_years: float | None = None
    sex: Literal["female", "male", "other", "unknown"] | None = None
    weight_kg: float | None = None
    baseline: dict[str, float] = {}
    conditions: dict[str, str | None] = {}
    pump: Literal["implanted", "absent", "unknown"] = "implanted"


def instant(text: str) -> int:
    """The instant of ``h:mm``.

    Raises:
        ValueError: it is not written so.
    """
    match = _TIME.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r}: expected hours and minutes such as 0:30, 26:00 or -6:00")
    sign, hours, minutes = match.groups()
    return ZERO + (-1 if sign else 1) * (int(hours) * HOUR + int(minutes) * MINUTE)


def clock_time(at: int) -> str:
    """``h:mm`` of an instant."""
    minutes = abs(at - ZERO) // MINUTE
    return f"{'-' if at < ZERO else ''}{minutes // 60}:{minutes % 60:02d}"


def read_course(
    catalogue: Catalogue, patient: object, lines: Iterable[tuple[str, str]], path: str, problems: Problems
) -> list[PatientEvent]:
    """The events of a patient, in the one order, beginning with the admission at the first of them.

    Args:
        catalogue: the signals a line may name.
        patient: the keys of :class:`PatientWritten`.
        lines: (path of the line, line).
        path: path of ``patient``.
        problems: takes every mistake.
    """
    events: list[PatientEvent] = []
    for where, line in lines:
        try:
            events.append(_event(catalogue, line))
        except (ValueError, InputError) as error:
            problems.add(where, str(error))
    written = typed(PatientWritten, patient, path, problems)
    if written is None:
        return events
    first = min((event.available_at for event in events), default=ZERO)
    return sorted([*_admission(catalogue, written, first, path, problems), *events], key=_order)


def _order(event: PatientEvent) -> tuple[int, int]:
    return event.available_at, _TOPICS.index(type(event))


def _admission(
    catalogue: Catalogue, written: PatientWritten, first: int, path: str, problems: Problems
) -> list[PatientEvent]:
    conditions = []
    for code, since in written.conditions.items():
        try:
            conditions.append(Condition(code, None if since is None else instant(since)))
        except ValueError as error:
            problems.add(f"{path}.conditions.{code}", str(error))
    for signal in written.baseline:
        if signal not in catalogue.signals:
            problems.add(f"{path}.baseline.{signal}", f"no such signal{nearest(signal, catalogue.signals)}")
    events: list[PatientEvent] = [
        Encounter(
            patient_id=PATIENT, stay_id=STAY, event="admitted", at=first, available_at=first,
            age_years=written.age_years, sex=written.sex, weight_kg=written.weight_kg, baseline=written.baseline,
            conditions=tuple(conditions),
        )
    ]  # fmt: skip
    if written.pump != "unknown":
        long_ago = first - 1000 * DAY
        events.append(Pump(patient_id=PATIENT, event=written.pump, at=long_ago, available_at=first))
    return events


def _event(catalogue: Catalogue, line: str) -> PatientEvent:
    words = line.split()
    if len(words) < 3:
        raise ValueError(
            f"{line!r}: expected a time, a signal and a value, or a time, context, pump or stay and an event"
        )
    plain = [word for word in words if "=" not in word]
    options = dict(word.split("=", 1) for word in words if "=" in word)
    at = instant(words[0])
    available_at = instant(options.pop("arrives")) if "arrives" in options else at
    if words[1] == "context":
        return _context(plain, options, at, available_at)
    if words[1] == "pump":
        return _pump(plain, options, at, available_at)
    if words[1] == "stay":
        kind = _one_of(words[2], get_args(EncounterKind), "an encounter event")
        return Encounter(patient_id=PATIENT, stay_id=STAY, event=kind, at=at, available_at=available_at, **options)  # type: ignore[arg-type]
    return _reading(catalogue, plain, options, at, available_at)


def _reading(
    catalogue: Catalogue, plain: Sequence[str], options: dict[str, str], at: int, available_at: int
) -> Observation:
    named = catalogue.resolve_code(plain[1])
    if named is None:
        raise ValueError(f"{plain[1]!r} is not a signal{nearest(plain[1], catalogue.signals)}")
    for option in options:
        _one_of(option, _READING_OPTIONS, "an option of a reading")
    unit = " ".join(plain[3:]) or catalogue.signals[named.signal].unit
    if catalogue.signals[named.signal].resolve_unit(unit) is None:
        raise ValueError(f"{unit!r} is not a unit of {named.signal}")
    return Observation(
        patient_id=PATIENT, stay_id=STAY, code=plain[1], effective_at=at, available_at=available_at,
        value=_number(plain[2]), unit=unit, status=options.get("status", "final"),  # type: ignore[arg-type]
        observation_id=options.get("id"), flags=tuple(filter(None, options.get("flags", "").split(","))),
        site=options.get("site"), reference_high=_number(options["uln"]) if "uln" in options else None,
    )  # fmt: skip


def _context(plain: Sequence[str], options: dict[str, str], at: int, available_at: int) -> Context:
    kind = _one_of(plain[2], CONTEXT_KINDS, "a kind of context")
    event = _one_of(plain[3] if len(plain) > 3 else "", get_args(ContextChange), "a context event")
    dose = _number(options.pop("dose")) if "dose" in options else None
    for option in options:
        _one_of(option, ("dose", "arrives"), "an option of a context event")
    return Context(patient_id=PATIENT, kind=kind, event=event, at=at, available_at=available_at, dose=dose)


def _pump(plain: Sequence[str], options: dict[str, str], at: int, available_at: int) -> Pump:
    fields: dict[str, Any] = {name: instant(text) if name == "date" else text for name, text in options.items()}
    fields |= {
        "type": "pump", "patient_id": PATIENT, "event": _one_of(plain[2], PUMP_KINDS, "a pump event"), "at": at,
        "available_at": available_at,
    }  # fmt: skip
    for name in options:
        _one_of(name, Pump.__struct_fields__, "a field of a pump event")
    try:
        return msgspec.convert(fields, Pump, strict=False)
    except msgspec.ValidationError as error:
        raise ValueError(f"{' '.join(plain)!r}: {error}") from error


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise ValueError(f"{text!r}: expected a number") from error


def _one_of(word: str, known: Sequence[str], what: str) -> Any:
    if word not in known:
        raise ValueError(f"{word!r} is not {what}; expected one of {', '.join(known)}{nearest(word, known)}")
    return word


class Told:
    """A scorer whose answers are told beforehand: ``told`` has (from when on, the scores by name), oldest first."""

    def __init__(self, told: Sequence[tuple[int, Mapping[str, float | None]]]) -> None:
        self._told = told

    def score(self, rows: Sequence[FeatureRow]) -> list[Scores]:
        return [self._at(row.at) for row in rows]

    def _at(self, at: int) -> Scores:
        newest = next((scores for since, scores in reversed(self._told) if since <= at), {})
        return {name: Score(value, None if value is not None else "not_told") for name, value in newest.items()}


class Bed:
    """One patient with a course that is run as far as one asks; what was decided stays in ``records``.

    With ``scores`` (see :class:`Told`) rows are scored at the end of each hour in which something came; ``scorer`` is
    that of a plan which has models.
    """

    def __init__(
        self, plan: Plan, events: Sequence[PatientEvent],
        scores: Sequence[tuple[int, Mapping[str, float | None]]] = (), scorer: Scorer | None = None,
    ) -> None:  # fmt: skip
        if scores:
            features = (Feature("temp", "last", DAY),)
            plan = structs.replace(plan, features=features, columns=columns(features))
        self._scorer = scorer if scorer is not None else Told(scores)
        self.ward = Ward(plan)
        self.records: list[AlertRecord] = []
        self.ledger = Ledger()
        self._events = list(events)

    def until(self, at: int) -> None:
        """Fold everything available up to ``at``, and let time pass to it."""
        due = [event for event in self._events if event.available_at <= at]
        self._events = self._events[len(due) :]
        self.records += run(self.ward.plan, self.ward, [*due, Ticked(at)], self._scorer, self.ledger).records

    def truth(self, rule: str) -> str:
        """What a rule (or definition) answers now: true, false, unknown, or ``not asked`` outside a stay."""
        patient = self.ward.patients.get(PATIENT)
        found = patient.found.get(rule) if patient is not None else None
        if patient is not None and patient.stay is not None and patient.shown is not None:
            found = found or patient.shown.found.get(rule)
        return "not asked" if found is None else WORDS[found.truth]

    def severity(self, syndrome: str) -> str:
        """What the rules say of a syndrome now; ``quiet`` = nothing."""
        patient = self.ward.patients.get(PATIENT)
        verdict = patient.verdicts.by_key.get(syndrome) if patient is not None else None
        if verdict is None or verdict.severity == Severity.NONE or patient is None or patient.stay is None:
            return "quiet"
        return verdict.severity.word
