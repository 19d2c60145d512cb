"""What a rule may look at: one patient at one instant, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median
from typing import TYPE_CHECKING

from detector.clock import DAY, NEVER
from detector.reading import Meta
from detector.windows import Series

if TYPE_CHECKING:
    from detector.catalogue.signals import Catalogue
    from detector.patient import ContextFact, Memo, Patient, PumpFact
    from detector.rules.truth import Found

BASE_OLDEST = 7 * DAY
BASE_NEWEST = DAY
"""Without a supplied baseline the usual value is the median over (t - 168 h, t - 24 h] (clinical-evidence.md 5.1)."""


class Masks:
    """Which running treatments make which signals unreadable (guard G-4)."""

    __slots__ = ("context", "low", "unknown")

    def __init__(self) -> None:
        self.unknown: dict[str, frozenset[str]] = {}
        self.low: dict[str, frozenset[str]] = {}
        self.context: dict[str, frozenset[str]] = {}


class View:
    """One patient at ``now``. ``found`` holds the answers of the rules asked before this one."""

    __slots__ = ("catalogue", "found", "masks", "now", "patient", "tables")

    def __init__(
        self, catalogue: Catalogue, masks: Masks, tables: Mapping[str, object], patient: Patient, now: int
    ) -> None:
        self.catalogue = catalogue
        self.masks = masks
        self.tables = tables
        self.patient = patient
        self.now = now
        self.found: dict[str, Found] = patient.found

    def series(self, signal: str) -> Series | None:
        return self.patient.series.get(signal)

    def stale_after(self, signal: str) -> int:
        return self.catalogue.signals[signal].stale_after

    def unreadable(self, signal: str) -> bool:
        """G-4: the signal cannot be read now (tone and GCS under sedation, for example)."""
        kinds = self.masks.unknown.get(signal)
        return bool(kinds) and not kinds.isdisjoint(self.patient.running)  # type: ignore[union-attr]

    def low_means_nothing(self, signal: str) -> bool:
        """G-4: a low value is made by the treatment (temperature under cooling or RRT) and says nothing."""
        kinds = self.masks.low.get(signal)
        return bool(kinds) and not kinds.isdisjoint(self.patient.running)  # type: ignore[union-attr]

    def note_unreadable(self, kind: str) -> bool:
        """G-4 for a nursing note, such as spasticity under neuromuscular block."""
        kinds = self.masks.context.get(kind)
        return bool(kinds) and not kinds.isdisjoint(self.patient.running)  # type: ignore[union-attr]

    def base(self, signal: str) -> tuple[float | None, int]:
        """The usual value of a signal and until when it stands; None = not known."""
        stay = self.patient.stay
        if stay is not None and signal in stay.baseline:
            return stay.baseline[signal], NEVER
        series = self.patient.series.get(signal)
        if series is None or not (len(series) or series.older):
            return None, NEVER
        oldest, newest = self.now - BASE_OLDEST, self.now - BASE_NEWEST
        if self.catalogue.signals[signal].is_vital:
            return series.usual(oldest), self.patient.next_hour
        window = series.between(oldest, newest)
        values = [series.value[k] for k in window if series.usable[k]]
        until = series.at[window.stop] + BASE_NEWEST if window.stop < len(series) else NEVER
        if len(window):
            until = min(until, series.at[window.start] + BASE_OLDEST)
        return (median(values) if values else None), until

    def upper_limit(self, signal: str, meta: Meta) -> float | None:
        """Upper limit of normal: the report's own, else the catalogue's by sex; None = neither is known."""
        if meta.reference_high is not None:
            return meta.reference_high
        written = self.catalogue.signals[signal].uln
        if written is None:
            return None
        stay = self.patient.stay
        sex = stay.sex if stay is not None else None
        by_sex = written.male if sex == "male" else written.female if sex == "female" else None
        return by_sex if by_sex is not None else written.value

    @property
    def age_years(self) -> float | None:
        return self.patient.stay.age_years if self.patient.stay is not None else None

    @property
    def weight_kg(self) -> float | None:
        return self.patient.stay.weight_kg if self.patient.stay is not None else None

    def pump_facts(self, events: frozenset[str], after: int) -> list[PumpFact]:
        """Pump events of these kinds in (after, now], oldest first."""
        return [fact for fact in self.patient.pump if after < fact.at <= self.now and fact.event in events]

    def context_facts(self, kinds: frozenset[str], after: int) -> list[ContextFact]:
        """Context events of these kinds in (after, now], oldest first."""
        return [fact for fact in self.patient.context if after < fact.at <= self.now and fact.kind in kinds]

    def memo(self, rule: str) -> Memo | None:
        """When the rule was true before this instant; None = never."""
        return self.patient.memory_base.get(rule)
