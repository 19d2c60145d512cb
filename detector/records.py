"""What leaves the core: alert records, rejections and merges (DESIGN.md section 3).

Field order is the order on the wire. Times are RFC 3339 strings here, because a record is what is published.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any, Literal

import msgspec
from msgspec import UNSET, Struct, UnsetType, field

from detector.events import Position


class Severity(IntEnum):
    """info < watch < warning < critical; NONE = no rule speaks."""

    NONE = 0
    INFO = 1
    WATCH = 2
    WARNING = 3
    CRITICAL = 4

    @property
    def word(self) -> str:
        return self.name.lower()


SEVERITIES: dict[str, Severity] = {s.word: s for s in Severity if s}
Syndrome = Literal["itb_withdrawal", "itb_overdose", "hyperpyrexia", "pump_status_query", "data_quality", "technical"]
State = Literal["opened", "raised", "lowered", "amended", "reminded", "acknowledged", "snoozed", "resolved"]


class Evidence(Struct, frozen=True):
    """One line of evidence: a reading (or a pump or context event) that makes a rule true, and the rule."""

    rule: str
    signal: str
    value: float | None
    unit: str | None
    effective_at: str
    available_at: str
    change: str | None = None
    source: str | None = None


class Differential(Struct, frozen=True):
    """Another explanation, and the single fact that speaks for it or would separate it."""

    name: str
    because: str


class Gate(Struct, frozen=True):
    """What is known of the pump (present, absent, unknown, explanted, oral) and of an interruption."""

    pump: str
    interruption: str


class Provenance(Struct, frozen=True):
    plan_digest: str
    rules_version: str
    models: dict[str, str]
    position: tuple[Position, ...]


class AlertRecord(Struct, frozen=True, kw_only=True, tag="alert", tag_field="type"):
    """One step in the life of an alert; (alert_id, sequence) is its key and ``at`` the instant it was known."""

    alert_id: str
    sequence: int
    patient_id: str
    stay_id: str | None
    syndrome: str
    severity: str
    state: str
    previous_severity: str | None
    reason: str
    at: str
    onset_at: str | None
    headline: str
    evidence: tuple[Evidence, ...]
    missing: tuple[str, ...]
    against: tuple[str, ...]
    differentials: tuple[Differential, ...]
    checks: tuple[str, ...]
    score: float | None
    gate: Gate
    provenance: Provenance
    unit: str | None = None
    """The ward of the stay, for routing and for metric labels; an addition to the contract's fields."""
    canary: bool | UnsetType = UNSET
    """True = of no patient: it tells that the path is whole. Else it is not written at all."""

    def to_json(self) -> bytes:
        return msgspec.json.encode(self)

    def as_dict(self) -> dict[str, Any]:
        return dict(msgspec.to_builtins(self))


class Rejected(Struct, frozen=True):
    """An event the core could not use. ``quarantined`` = its original bytes are worth keeping, because a mended
    configuration or clock could read them (an unknown unit, a value only plausible in another one, a time ahead).
    ``code`` and ``unit`` are those of an observation as it wrote them; a unit is None where it had none.
    """

    reason: str
    signal: str | None
    position: Position | None
    quarantined: bool = False
    code: str = ""
    unit: str | None = None


class MergeOut(Struct, frozen=True):
    """History and open episodes of a patient id that was merged away, for ``itb.merges``."""

    into: str
    from_patient_id: str
    available_at: int
    payload: bytes


class LabelGiven(Struct, frozen=True):
    """A clinician confirmed or dismissed an alert: kept as a label for evaluation."""

    alert_id: str
    action: str
    reason: str
    by: str
    at: str


class Batch(Struct):
    """Everything one call of the engine lets out."""

    records: list[AlertRecord] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    merges: list[MergeOut] = field(default_factory=list)
    labels: list[LabelGiven] = field(default_factory=list)
    touched: set[str] = field(default_factory=set)
    """Patients whose stored form may have changed."""
