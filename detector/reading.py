"""One cleaned value of one signal, and what is known of it besides its number."""

from __future__ import annotations

from typing import NamedTuple


class Meta(NamedTuple):
    """What is known of a reading besides its number. ``rank`` orders the versions of one observation."""

    site: str | None = None
    flags: tuple[str, ...] = ()
    reference_high: float | None = None
    source: str | None = None
    rank: int = 1


class Reading(NamedTuple):
    """One cleaned value in the catalogue's unit, rounded to its precision.

    ``at`` is the instant it counts from: ``effective_at``, or ``available_at`` when it was charted ahead of time.
    """

    at: int
    value: float
    effective_at: int
    available_at: int
    meta: Meta
    observation_id: str | None = None


class Jump(NamedTuple):
    """A change larger than ``delta`` within ``within`` ms is an artefact until it is repeated (guard G-2)."""

    delta: float
    within: int
