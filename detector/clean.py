"""From an observation as it came to a reading in the catalogue's unit, or the reason why not.

Guards G-1 and G-3 of clinical-evidence.md 5.2: an unknown code or unit is never guessed, an implausible value is kept
out and never clipped, a value that only makes sense in another unit is quarantined with that remark.
"""

from __future__ import annotations

from typing import NamedTuple

from detector.catalogue.signals import UNKNOWN_SITE, Catalogue, Named, Signal
from detector.events import Observation
from detector.reading import Meta, Reading

REASONS = (
    "accepted", "duplicate", "corrected", "removed", "superseded", "unknown_code", "no_value", "unknown_unit",
    "needs_weight", "suspect_unit", "not_assessed", "implausible", "late", "future", "ambiguous_correction",
)  # fmt: skip
"""Every outcome of an observation, the value of the ``outcome`` label."""

QUARANTINED = frozenset({"unknown_unit", "suspect_unit", "future"})
RANKS = {
    "registered": 0,
    "preliminary": 0,
    "final": 1,
    "amended": 2,
    "corrected": 2,
    "cancelled": 3,
    "entered-in-error": 3,
}
"""Versions of one observation: a higher rank replaces a lower one whatever the order they arrive in (G-3)."""

WITHDRAWN = 3


class Refused(NamedTuple):
    """Why there is no reading. ``signal`` is None when even the code is unknown; ``value`` is the value in the
    catalogue's unit, where it is worth showing.
    """

    reason: str
    signal: str | None
    value: float | None = None


def name_of(catalogue: Catalogue, observation: Observation) -> Named | None:
    """The signal (and temperature site) of an observation; a site of its own wins over an unspecific code."""
    named = catalogue.resolve_code(observation.code)
    if named is None or named.site is None or observation.site is None:
        return named
    site = catalogue.site_spellings.get(observation.site.strip().lower())
    return Named(named.signal, site, named.unit) if site is not None and named.site == UNKNOWN_SITE else named


def clean(
    catalogue: Catalogue, named: Named, observation: Observation, weight_kg: float | None
) -> tuple[str, Reading] | Refused:
    """The (signal, reading) of an observation, or why there is none.

    ``weight_kg`` None = not known; a unit that needs it is then refused, not guessed. The signal can differ from
    ``named``: millilitres charted as urine output belong to the urine volume.
    """
    signal = catalogue.signals[named.signal]
    value = observation.value
    if value is None:
        return Refused("no_value", signal.name)
    unit = signal.resolve_unit(observation.unit if observation.unit is not None else named.unit)
    if unit is None:
        return Refused("unknown_unit", signal.name)
    if unit.redirect is not None:
        signal = catalogue.signals[unit.redirect]
        unit = signal.resolve_unit(observation.unit) or signal.units[signal.unit]
    if unit.needs is not None and weight_kg is None:
        return Refused("needs_weight", signal.name)
    scale = unit.factor * (weight_kg if unit.needs is not None and weight_kg is not None else 1.0)
    converted = signal.round(value * scale + unit.offset)
    for suspect in signal.suspect:
        if suspect.tagged not in (None, unit.unit):
            continue
        if suspect.low <= converted <= suspect.high:
            looks = signal.units.get(suspect.looks_like)
            if looks is None or suspect.looks_like not in catalogue.convert_suspects:
                return Refused("suspect_unit", signal.name, converted)
            converted = signal.round(converted * looks.factor + looks.offset)
            break
    if converted in signal.null_values:
        return Refused("not_assessed", signal.name)
    if not signal.plausible.low <= converted <= signal.plausible.high:
        return Refused("implausible", signal.name)
    high = observation.reference_high
    if high is not None and high <= 0:
        high = (
            None  # "0-0" is how laboratories write that there is no range: a multiple of it would be true of any value
        )
    meta = Meta(
        named.site, observation.flags, None if high is None else signal.round(high * scale + unit.offset),
        observation.source, RANKS[observation.status],
    )  # fmt: skip
    at = min(observation.effective_at, observation.available_at)
    reading = Reading(
        at, converted, observation.effective_at, observation.available_at, meta, observation.observation_id
    )
    return signal.name, reading


def kept_for(signal: Signal, catalogue: Catalogue) -> int:
    """How long readings of a signal are kept as they came, ms."""
    return catalogue.keep_vitals if signal.is_vital else catalogue.keep
