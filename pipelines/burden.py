"""What alerts are counted against: the days patients were watched, and those on which the gate stood open.

Rates without a pump population mean nothing (clinical-evidence.md section 6), so every rate is given per patient-day
and per gated patient-day. Times are ms UTC; a stay lasts from its admission or first observation to its discharge or
newest observation.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from detector.clock import DAY
from detector.events import Context, Encounter, Observation, PatientEvent, Pump

AFTER_EXPLANT = 10 * DAY  # how long the gate stays open after each (DESIGN.md section 4.4)
AFTER_ORAL_STOP = 7 * DAY

Span = tuple[int, int]


@dataclass
class Exposure:
    """One stay: when it began and ended, and for how long of it (ms) withdrawal could have been alerted."""

    stay_id: str | None
    unit: str | None
    start: int
    end: int
    gated: int = 0
    discharged: bool = False
    patient_id: str | None = None

    @property
    def days(self) -> float:
        return (self.end - self.start) / DAY

    @property
    def gated_days(self) -> float:
        return self.gated / DAY


def exposures(events: Sequence[PatientEvent]) -> list[Exposure]:
    """The stays of one patient, whose events come in the one order."""
    stays: dict[str | None, Exposure] = {}
    for event in events:
        if isinstance(event, Encounter):
            stay = stays.setdefault(
                event.stay_id, Exposure(event.stay_id, event.unit, event.at, event.at, patient_id=event.patient_id)
            )
            stay.unit = event.unit or stay.unit
            if event.event == "admitted":
                stay.start = min(stay.start, event.at)
            elif event.event == "discharged":
                stay.end, stay.discharged = max(stay.start, event.at), True
        elif isinstance(event, Observation):
            known = stays.setdefault(
                event.stay_id,
                Exposure(event.stay_id, None, event.available_at, event.available_at, patient_id=event.patient_id),
            )
            if not known.discharged:
                known.end = max(known.end, event.available_at)
    gate = open_gate(events)
    for stay in stays.values():
        stay.gated = sum(max(0, min(stay.end, end) - max(stay.start, start)) for start, end in gate)
    return list(stays.values())


def open_gate(events: Iterable[PatientEvent]) -> list[Span]:
    """When the gate stood open as far as pump and oral baclofen events said so, as disjoint spans in order."""
    spans: list[Span] = []
    present_since: int | None = None
    last = 0
    for event in events:
        last = event.available_at
        if isinstance(event, Pump):
            if event.event not in ("absent", "explanted"):
                present_since = last if present_since is None else present_since
            elif present_since is not None:
                spans.append((present_since, last + (AFTER_EXPLANT if event.event == "explanted" else 0)))
                present_since = None
        elif isinstance(event, Context) and event.kind == "oral_baclofen" and event.event in ("stopped", "reduced"):
            spans.append((last, event.at + AFTER_ORAL_STOP))
    if present_since is not None:
        spans.append((present_since, last))
    return _disjoint(spans)


def _disjoint(spans: list[Span]) -> list[Span]:
    joined: list[Span] = []
    for start, end in sorted(spans):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], end))
        else:
            joined.append((start, end))
    return joined
