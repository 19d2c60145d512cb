"""Technical alerts of the service itself: no patient's, but records like any other, so that they reach who reads those.

Each belongs to a partition number. Its ``patient_id`` is ``itbwatch:`` and that number, which no hospital gives out.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from detector.clock import rfc3339
from detector.plan import Plan
from detector.records import AlertRecord, Evidence, Gate, Provenance, Severity

TECHNICAL = "technical"
SEVERITY = Severity.WATCH
"""As the alert of a clock that is off: somebody must look, nobody is in danger by it."""

OWNER = "itbwatch:"
CANARY_PATIENT = f"{OWNER}canary:"
"""How the patient_id of a canary begins; the partition number follows."""

Subject = tuple[str, str]
"""What it is about: ("model", "withdrawal"), ("input_drift", "temp"). Both words are from fixed lists."""


def owner(partition: int) -> str:
    """The ``patient_id`` of the technical alerts of a partition number."""
    return f"{OWNER}{partition}"


def is_ours(record: AlertRecord) -> bool:
    """Whether a record is one of these: it says nothing of any patient."""
    return record.patient_id.startswith(OWNER)


def subject(record: AlertRecord) -> Subject:
    """What a technical alert is about."""
    return record.evidence[0].rule, record.evidence[0].signal


def opened(
    plan: Plan, partition: int, about: Subject, at: int, *, because: str, headline: str, checks: Sequence[str],
    value: float | None = None,
) -> AlertRecord:  # fmt: skip
    """The first record of an alert, known at ``at`` (ms UTC)."""
    when, mine = rfc3339(at), owner(partition)
    return AlertRecord(
        alert_id=plan.alert_id(mine, f"{TECHNICAL}:{':'.join(about)}", at), sequence=1, patient_id=mine, stay_id=None,
        syndrome=TECHNICAL, severity=SEVERITY.word, state="opened", previous_severity=None, reason=because, at=when,
        onset_at=when, headline=headline,
        evidence=(Evidence(about[0], about[1], value, None, when, when, because),), missing=(), against=(),
        differentials=(), checks=tuple(checks), score=None, gate=Gate("unknown", "unknown"),
        provenance=Provenance(plan.digest, plan.rules_version, plan.models, ()),
    )  # fmt: skip


def resolved(record: AlertRecord, at: int, because: str) -> AlertRecord:
    """The last record of the alert."""
    return replace(
        record, sequence=record.sequence + 1, state="resolved", previous_severity=record.severity, reason=because,
        at=rfc3339(at),
    )  # fmt: skip
