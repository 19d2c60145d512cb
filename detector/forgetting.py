"""What is summarised and forgotten as a patient's hours pass (DESIGN.md section 1, History).

Counted from the beginning of the patient's own hour, so that the moment of the call cannot matter.
"""

from __future__ import annotations

from detector.catalogue.signals import Catalogue
from detector.clean import kept_for
from detector.clock import HOUR, NEVER
from detector.patient import Patient


def hour_passed(catalogue: Catalogue, patient: Patient) -> frozenset[str]:
    """Call whenever the patient's own hour is over; the signals whose history became shorter."""
    patient.next_hour = patient.anchor + ((patient.now - patient.anchor) // HOUR + 1) * HOUR
    hour = patient.next_hour - HOUR
    patient.unsaved.append(("c", hour))
    return summarise(catalogue, patient, hour)


def summarise(catalogue: Catalogue, patient: Patient, hour: int) -> frozenset[str]:
    """What :func:`hour_passed` does at the hour that begins at ``hour``."""
    changed = set()
    for name, series in patient.series.items():
        signal = catalogue.signals[name]
        if signal.is_vital:
            series.summarise(hour - catalogue.keep_vitals)
            changed.add(name)
        series.forget(hour - catalogue.keep)
    if patient.versions:
        oldest = {
            name: hour - kept_for(signal, catalogue) - signal.late_limit for name, signal in catalogue.signals.items()
        }
        patient.versions = {k: v for k, v in patient.versions.items() if v.at >= oldest[v.signal]}
    return frozenset(changed)


def kept_since(catalogue: Catalogue, patient: Patient, name: str) -> int:
    """Since when readings of a signal are kept as they came; nothing older may be put among them."""
    hour = patient.next_hour - HOUR
    signal = catalogue.signals[name]
    if not signal.is_vital:
        return hour - catalogue.keep
    before = hour - catalogue.keep_vitals
    return before - (before - patient.anchor) % HOUR


def forgetting_due(catalogue: Catalogue, patient: Patient) -> int:
    """When the readings of a patient without a stay are all old enough to be forgotten; NEVER = it has none."""
    newest = [series.at[-1] for series in patient.series.values() if len(series)]
    newest += [series.older[-1].start for series in patient.series.values() if series.older]
    return max(newest) + catalogue.keep + 2 * HOUR if newest else NEVER
