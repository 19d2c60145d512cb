"""All that is remembered of one patient. The engine changes it; nothing else does.

It falls in two halves that never read each other backwards: the *picture* (stay, pump, treatments, readings, what the
rules answer and answered) belongs to pass 1, the *episodes* (alerts and their life cycle) to pass 2. Both keep what
they were at the beginning of the current instant, so that the records of one instant may come in any order.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, NamedTuple

from msgspec import Struct

from detector.clock import HOUR, NEVER, minute_floor
from detector.episode import Episode
from detector.events import EARLIEST, Acknowledgement, Condition, Encounter, Observation
from detector.reading import Reading
from detector.rules.truth import Found
from detector.scoring import Learned, Score
from detector.verdict import NOTHING as NOTHING_SAID
from detector.verdict import Verdicts
from detector.windows import Series

if TYPE_CHECKING:
    from collections.abc import Collection

    from detector.features import Kept
    from detector.steps import Step, Suspect

STORE_WHOLE = 1 << 30
"""A count of segments beyond any limit: the log does not say what happened, so the readings are stored whole."""

MOST_STARTS = 4
MOST_AHEAD = 32
MOST_LOOKS = 32


class Stay(Struct, frozen=True):
    """One stay. Everything but its beginning may be unknown (None).

    ``opened_at`` is when it became known, ``began_at`` when it is said to have begun, ``newest_at`` its newest event's
    instant, ``reopened_after`` when the discharge became known that was taken back. ``said`` has for each thing that was said of it when it held and its text, so that newer words win.
    """

    stay_id: str | None
    opened_at: int
    newest_at: int
    unit: str | None = None
    age_years: float | None = None
    sex: str | None = None
    weight_kg: float | None = None
    baseline: dict[str, float] = {}
    conditions: tuple[Condition, ...] = ()
    began_at: int = EARLIEST
    reopened_after: int = EARLIEST
    admitted_at: int | None = None
    said: dict[str, tuple[int, str]] = {}


class Seen(NamedTuple):
    """What the observations of one instant say of one stay: the earliest and the newest time they speak of, and when
    the newest of them became known. ``stay_id`` None = they name no stay.
    """

    stay_id: str | None
    first_at: int
    last_at: int
    newest_at: int


class Told(NamedTuple):
    """What was said of a patient's stays in one instant, and first what was known of them when it began.

    ``gained`` are stays of ids that were merged into this one, ``touched_at`` is when a pump or a treatment was newest
    heard of (``EARLIEST`` = not in this instant).
    """

    stay: Stay | None
    silent_stay: Stay | None
    closed: dict[str, int]
    encounters: tuple[Encounter, ...] = ()
    seen: tuple[Seen, ...] = ()
    gained: tuple[Stay, ...] = ()
    touched_at: int = EARLIEST


class PumpFact(NamedTuple):
    """A pump event, ordered by time and then by its content, never by arrival."""

    at: int
    event: str
    level: str = ""
    reason: str = ""
    result: str = ""
    volume_expected_ml: float | None = None
    volume_aspirated_ml: float | None = None
    date: int | None = None
    available_at: int = 0


class ContextFact(NamedTuple):
    """A treatment or a note."""

    at: int
    kind: str
    event: str
    dose: float | None = None
    available_at: int = 0


class Memo(NamedTuple):
    """When a rule was true: the start of its newest run, its end (None = it runs) and the newest starts."""

    since: int
    ended: int | None
    starts: tuple[int, ...]


class Version(NamedTuple):
    """The newest version of an observation that has an id: where its reading is, and what outranks it."""

    signal: str
    at: int
    value: float
    rank: int
    available_at: int

    @property
    def order(self) -> tuple[int, int, float, int, str]:
        """Of two versions the one with the greater order holds, whatever the order they arrive in (guard G-3)."""
        return self.rank, self.available_at, self.value, self.at, self.signal


class Left(NamedTuple):
    """A reading that an id said before, while it says something else since this instant. Another id may say the very
    same in the same instant; then it is as if it had said so first.

    ``was_kept``: the reading stood until then; ``is_marked``: the mark that keeps it out was set for it.
    """

    signal: str
    reading: Reading
    was_kept: bool
    is_marked: bool


Look = tuple[bool, int, str]
"""Whether a reading lay further ahead than allowed, when it was charted, and of which signal."""


class Looks(NamedTuple):
    """The newest looks of earlier instants, oldest first, by their kind. What is older than all of a full list is not
    counted any more, because nobody knows whether it was.
    """

    on_time: tuple[Look, ...] = ()
    ahead: tuple[Look, ...] = ()

    def count(self, look: Look) -> bool:
        """Whether a look is new."""
        known = self.ahead if look[0] else self.on_time
        if not known or look > known[-1]:  # nearly always
            return True
        place = bisect_left(known, look)
        return known[place] != look and (place > 0 or len(known) < MOST_LOOKS)

    def plus(self, looks: set[Look]) -> Looks:
        """With the new ones of one more instant."""
        ahead = [look for look in looks if look[0]]
        on_time = looks if not ahead else looks.difference(ahead)
        return Looks(_newest(self.on_time, on_time), _newest(self.ahead, ahead))


def _newest(known: tuple[Look, ...], more: Collection[Look]) -> tuple[Look, ...]:
    return tuple(sorted((*known, *more))[-MOST_LOOKS:]) if more else known


class Patient:
    """State of one patient; times are milliseconds. A new one knows nothing."""

    __slots__ = (
        "absorbed",
        "acks",
        "ahead",
        "ahead_base",
        "anchor",
        "asked_due",
        "base",
        "base_true",
        "closed",
        "context",
        "corrected",
        "decided_at",
        "due",
        "ended",
        "episodes",
        "fallen",
        "features",
        "found",
        "instant",
        "late_truths",
        "learn_due",
        "learned",
        "learned_at",
        "left",
        "looked",
        "looks",
        "looks_before",
        "memory",
        "memory_base",
        "merged_at",
        "merged_into",
        "newest_observation_at",
        "next_fact",
        "next_hour",
        "now",
        "patient_id",
        "points",
        "prompted",
        "pump",
        "running",
        "saved_segments",
        "score_due",
        "scores",
        "series",
        "shown",
        "silent_stay",
        "standing",
        "stay",
        "suspects",
        "timer",
        "told",
        "true_rules",
        "unmatched",
        "unsaved",
        "untils",
        "verdicts",
        "versions",
    )  # fmt: skip

    def __init__(self, patient_id: str, first_at: int) -> None:
        self.patient_id = patient_id
        # the picture, pass 1
        self.anchor = minute_floor(first_at)
        self.now = first_at
        self.instant = first_at
        self.next_hour = self.anchor + HOUR
        self.stay: Stay | None = None
        self.silent_stay: Stay | None = None
        self.closed: dict[str, int] = {}  # never changed in place: ``told`` may still hold it
        self.told = Told(None, None, self.closed)
        self.absorbed: dict[str, int] = {}
        self.merged_into: str | None = None
        self.merged_at = EARLIEST
        self.newest_observation_at: int | None = None
        self.pump: list[PumpFact] = []
        self.context: list[ContextFact] = []
        self.running: dict[str, ContextFact] = {}
        self.next_fact = NEVER
        self.series: dict[str, Series] = {}
        self.versions: dict[str, Version] = {}
        self.left: tuple[Left, ...] = ()
        self.unmatched: tuple[Observation, ...] = ()
        self.suspects: dict[str, tuple[int, float, int]] = {}
        self.ahead = (0, 0)
        self.ahead_base = (0, 0)
        self.looks: set[Look] = set()  # in this instant
        self.looks_before = Looks()
        self.found: dict[str, Found] = {}
        self.untils: list[int] = []
        self.standing: dict[int, Found] = {}
        self.fallen = 0  # bit i: the kept answer i does not stand any more
        self.asked_due = NEVER
        self.true_rules = 0
        self.memory: dict[str, Memo] = {}
        self.memory_base: dict[str, Memo] = {}
        self.due = NEVER
        self.features: dict[str, Kept] = {}
        self.learned: Learned = {}
        self.learn_due = self.anchor + 2 * HOUR
        self.learned_at = self.anchor
        self.score_due = NEVER
        self.looked: tuple[str, tuple[Suspect, ...], bool] = ("unknown", (), False)
        # the episodes, pass 2
        self.base: dict[str, Episode] = {}
        self.base_true: tuple[str, ...] = ()
        self.episodes: dict[str, Episode] = {}
        self.verdicts: Verdicts = NOTHING_SAID
        self.decided_at = first_at
        self.acks: tuple[Acknowledgement, ...] = ()
        self.corrected: frozenset[str] = frozenset()
        self.ended: str | None = None
        self.shown: Step | None = None
        self.points: tuple[tuple[str, int], ...] = ()
        """Of the step that is shown: they are what was known then, also after a restart."""
        self.prompted: tuple[str, int] | None = None
        self.timer = NEVER
        self.scores: dict[str, tuple[int, Score]] = {}
        self.late_truths: tuple[int, ...] = ()
        # what the store does not have yet
        self.unsaved: list[tuple[object, ...]] = []
        self.saved_segments = 0

    def forget_answers(self) -> None:
        """Nothing is asked while no stay is open. A row of this very minute stays due: a stay may open again in it."""
        self.found, self.untils, self.standing = {}, [], {}
        self.asked_due = self.due = NEVER
        self.score_due = self.score_due if self.score_due <= self.now else NEVER
        self.true_rules = 0
        self.looked = ("unknown", (), False)

    def look(self, signal: str, effective_at: int, *, ahead: bool) -> None:
        """Count a reading for or against our clock; the same one again counts nothing, nor does its correction."""
        look = ahead, effective_at, signal
        if look not in self.looks and self.looks_before.count(look):
            self.looks.add(look)
            self.ahead = self.ahead[0] + ahead, self.ahead[1] + 1

    @property
    def rests(self) -> bool:
        """Whether only an event of its own can bring it back: no stay, nothing due, no open alert."""
        living = any(not episode.resolved for episode in self.episodes.values())
        return self.stay is None and self.due == NEVER and self.timer == NEVER and not living

    def begin(self, now: int) -> None:
        """Time reached ``now``; a new instant begins if it is later than the last one."""
        if now > self.instant:
            self.instant = now
            self.memory_base = self.memory
            while self.ahead[1] >= MOST_AHEAD:  # forget by halves: a clock may go wrong late in a long stay
                self.ahead = (self.ahead[0] // 2, self.ahead[1] // 2)
            self.ahead_base = self.ahead
            if self.looks:
                self.looks_before = self.looks_before.plus(self.looks)
                self.looks = set()
            self.left = ()
            self.unmatched = ()
            self.told = Told(self.stay, self.silent_stay, self.closed)
            if self.stay is None:
                self.score_due = NEVER
        self.now = max(self.now, now)
