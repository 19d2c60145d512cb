"""What pass 1 hands to pass 2: one patient at one instant at which something to decide on changed."""

from __future__ import annotations

from msgspec import Struct

from detector.episode import Episode
from detector.events import Acknowledgement, Position
from detector.merging import Leaving
from detector.patient import Stay
from detector.rules.truth import Found
from detector.scoring import FeatureRow, Score


class Suspect(Struct, frozen=True):
    """A value of a signal that is only plausible in another unit (guard G-1)."""

    signal: str
    value: float
    unit: str
    effective_at: int
    available_at: int
    looks_like: str


class Step(Struct):
    """Everything a decision may look at; by the time it is taken the windows hold the rest of the batch.

    ``closed`` says why the stay ended here (None = it did not). ``corrected`` are signals of which a reading was
    replaced or removed in this instant. ``decides`` is False when only fresher readings came behind answers that stand:
    later records show them, none is written for them. ``scores`` are the newest of this stay and when they were taken.
    It names its patient and does not hold it: a patient holds the step that it shows, and would be freed by the collector
    of cycles alone.
    """

    patient_id: str
    at: int
    found: dict[str, Found]
    stay: Stay | None
    pump: str
    suspects: tuple[Suspect, ...] = ()
    clock_off: bool = False
    corrected: frozenset[str] = frozenset()
    closed: str | None = None
    acknowledgements: tuple[Acknowledgement, ...] = ()
    leaving: Leaving | None = None
    moved_in: dict[str, Episode] = {}
    position: Position | None = None
    row: FeatureRow | None = None
    points: tuple[tuple[str, int], ...] = ()
    decides: bool = True
    scores: dict[str, tuple[int, Score]] = {}
