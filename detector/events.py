"""What can happen. Every format is decoded to these, and an event that exists is valid.

Times are whole milliseconds since 1970 UTC (``detector.clock``). ``effective_at`` / ``at`` is when something was
measured, drawn or happened; ``available_at`` is when the record had it, and is the only time that moves a patient's
now. Field names follow DESIGN.md section 2.
"""

from __future__ import annotations

from math import isfinite
from typing import Literal, NamedTuple, get_args

from msgspec import Struct

from detector.errors import InputError

Status = Literal["registered", "preliminary", "final", "amended", "corrected", "cancelled", "entered-in-error"]
PumpKind = Literal[
    "implanted", "explanted", "absent", "alarm", "interrogated", "refilled", "reprogrammed", "bolus", "surgery", "mri",
    "catheter_study", "low_reservoir_on", "interrupted", "restored",
]  # fmt: skip
AlarmReason = Literal[
    "motor_stall", "empty_reservoir", "low_reservoir", "eri", "end_of_service", "memory_error", "stopped_48h"
]  # fmt: skip
EncounterKind = Literal["admitted", "transferred", "discharged", "merged"]
ContextKind = Literal[
    "vasopressor", "sedation", "neuromuscular_block", "ventilation", "cooling", "antipyretic", "oral_baclofen",
    "benzodiazepine", "dopamine_blocker", "dopamine_agonist", "serotonergic", "volatile_anaesthetic",
    "succinylcholine", "surgery", "fall", "seizure", "im_injection", "positive_culture", "imaging_focus", "rrt",
    "platelet_transfusion", "hallucination", "delirium", "apnoea", "pruritus", "dysaesthesia", "spasticity",
]  # fmt: skip
ContextChange = Literal["started", "stopped", "given", "reduced", "noted"]
Action = Literal["acknowledge", "snooze", "confirm", "dismiss"]
AckReason = Literal["pump_checked_ok", "pump_fault_found", "sepsis_confirmed", "overdose", "post_restoration", "other"]
CONTEXT_KINDS: tuple[str, ...] = get_args(ContextKind)
PUMP_KINDS: tuple[str, ...] = get_args(PumpKind)

EARLIEST = -2_208_988_800_000  # 1900-01-01: before any record of an ICU; a time below it is a filler, not a time
LATEST = 10_413_792_000_000  # 2300-01-01: de-identified data sets are shifted into 2100 to 2200


class Position(NamedTuple):
    """Where a record came from: topic (or file), partition, offset (or row)."""

    topic: str
    partition: int
    offset: int


class Condition(Struct, frozen=True, omit_defaults=True):
    """A long-standing condition of a patient, such as ``sci_t6_or_above``; ``since`` None = not known."""

    code: str
    since: int | None = None

    def __post_init__(self) -> None:
        if self.since is not None:
            _require_time("since", self.since)


class Observation(Struct, frozen=True, omit_defaults=True, kw_only=True, tag="observation"):
    """One vital sign or laboratory result, in the code and unit it came in.

    ``value`` None = there is only text. ``site`` is the temperature site, when the code does not carry it.
    ``reference_high`` is the reporting laboratory's own upper limit, in the unit of the value; 0 or less is none.
    """

    patient_id: str
    code: str
    effective_at: int
    available_at: int
    stay_id: str | None = None
    value: float | None = None
    value_text: str | None = None
    unit: str | None = None
    status: Status = "final"
    observation_id: str | None = None
    flags: tuple[str, ...] = ()
    site: str | None = None
    reference_high: float | None = None
    source: str | None = None
    position: Position | None = None

    def __post_init__(self) -> None:
        _require_identity(self.patient_id)
        _require_time("effective_at", self.effective_at)
        _require_time("available_at", self.available_at)
        if self.value is not None and not isfinite(self.value):
            raise InputError("not_finite", "value: expected a finite number")
        if self.reference_high is not None and not isfinite(self.reference_high):
            raise InputError("not_finite", "reference_high: expected a finite number")


class Pump(Struct, frozen=True, omit_defaults=True, kw_only=True, tag="pump"):
    """Something that happened to the patient's intrathecal pump, or was learned about it."""

    patient_id: str
    event: PumpKind
    at: int
    available_at: int
    level: Literal["critical", "noncritical"] | None = None
    reason: AlarmReason | None = None
    result: str | None = None
    volume_expected_ml: float | None = None
    volume_aspirated_ml: float | None = None
    concentration_ug_ml: float | None = None
    daily_dose_ug: float | None = None
    date: int | None = None
    stay_id: str | None = None
    position: Position | None = None

    def __post_init__(self) -> None:
        _require_identity(self.patient_id)
        _require_time("at", self.at)
        _require_time("available_at", self.available_at)
        if self.date is not None:
            _require_time("date", self.date)
        for volume in (self.volume_expected_ml, self.volume_aspirated_ml, self.daily_dose_ug, self.concentration_ug_ml):
            if volume is not None and not isfinite(volume):
                raise InputError("not_finite", "pump volume or dose: expected a finite number")


class Encounter(Struct, frozen=True, omit_defaults=True, kw_only=True, tag="encounter"):
    """Admission, transfer, discharge or merge of a stay. ``unit`` is the ward, ``baseline`` signal -> usual value
    in the catalogue's unit.
    """

    patient_id: str
    stay_id: str
    event: EncounterKind
    at: int
    available_at: int
    unit: str | None = None
    bed: str | None = None
    age_years: float | None = None
    sex: Literal["female", "male", "other", "unknown"] | None = None
    weight_kg: float | None = None
    baseline: dict[str, float] = {}
    conditions: tuple[Condition, ...] = ()
    into: str | None = None
    position: Position | None = None

    def __post_init__(self) -> None:
        _require_identity(self.patient_id)
        _require_time("at", self.at)
        _require_time("available_at", self.available_at)
        if self.event == "merged" and not self.into:
            raise InputError("missing_key", "into: expected the surviving patient_id of a merge")
        for number in (self.age_years, self.weight_kg, *self.baseline.values()):
            if number is not None and not isfinite(number):
                raise InputError("not_finite", "age, weight or baseline: expected a finite number")


class Context(Struct, frozen=True, omit_defaults=True, kw_only=True, tag="context"):
    """A treatment, a procedure or a nursing note that changes how signals are read."""

    patient_id: str
    kind: ContextKind
    event: ContextChange
    at: int
    available_at: int
    dose: float | None = None
    detail: str | None = None
    stay_id: str | None = None
    position: Position | None = None

    def __post_init__(self) -> None:
        _require_identity(self.patient_id)
        _require_time("at", self.at)
        _require_time("available_at", self.available_at)
        if self.dose is not None and not isfinite(self.dose):
            raise InputError("not_finite", "dose: expected a finite number")


class Acknowledgement(Struct, frozen=True, omit_defaults=True, kw_only=True, tag="acknowledgement"):
    """A clinician's answer to an alert; it takes effect at the patient's now.

    ``until`` ends a snooze; None = the longest a snooze may last (12 h, DESIGN.md section 2).
    """

    patient_id: str
    alert_id: str
    action: Action
    reason: AckReason
    by: str
    at: int
    available_at: int
    until: int | None = None
    position: Position | None = None

    def __post_init__(self) -> None:
        _require_identity(self.patient_id)
        _require_time("at", self.at)
        _require_time("available_at", self.available_at)
        if self.until is not None:
            _require_time("until", self.until)


class Merged(Struct, frozen=True, kw_only=True, tag="merge"):
    """What a patient id that was merged away hands to the surviving one: its history and its open episodes.

    ``payload`` is a snapshot (``detector.snapshot``); it travels on ``itb.merges``.
    """

    patient_id: str
    from_patient_id: str
    available_at: int
    payload: bytes
    position: Position | None = None

    def __post_init__(self) -> None:
        _require_time("available_at", self.available_at)


class TimeMoved(Struct, frozen=True, kw_only=True, tag="time"):
    """A record that only moves its partition's time on (the end of a published data set)."""

    at: int
    position: Position | None = None

    def __post_init__(self) -> None:
        _require_time("at", self.at)


class Ticked(Struct, frozen=True, tag="tick"):
    """Time reached the whole minute ``at`` for every patient; made in one place only, ``pipelines/ticks.py``."""

    at: int


PatientEvent = Observation | Pump | Encounter | Context | Acknowledgement | Merged
Event = PatientEvent | Ticked


def _require_identity(patient_id: str) -> None:
    if not patient_id:
        raise InputError("missing_key", "patient_id: expected a non-empty string")


def _require_time(field: str, at: int) -> None:
    if not EARLIEST <= at < LATEST:
        raise InputError("bad_time", f"{field}: expected a year between 1900 and 2299")
