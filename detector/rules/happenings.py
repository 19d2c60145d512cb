"""Questions about pump events, treatments, notes and long-standing conditions."""

from __future__ import annotations

from collections.abc import Callable

from detector.clock import NEVER
from detector.rules.truth import FALSE, TRUE, Cite, Found, blank
from detector.rules.view import View

_IMPLIES_A_PUMP = frozenset(
    {"alarm", "interrogated", "refilled", "reprogrammed", "bolus", "interrupted", "restored", "low_reservoir_on",
     "catheter_study"}
)  # fmt: skip
_REGISTRATIONS = frozenset({"implanted", "absent", "explanted"})

STATUSES = ("present", "absent", "explanted", "unknown")


def pump_status(view: View) -> str:
    """``present``, ``absent``, ``explanted`` or ``unknown``, from the pump events known now, in order of their time.

    A device event of a patient whose pump was never registered implies a pump; only a new implantation undoes an
    explantation.
    """
    status = "unknown"
    for fact in view.patient.pump:
        if fact.at > view.now:
            break
        if fact.event == "implanted" or (fact.event in _IMPLIES_A_PUMP and status != "explanted"):
            status = "present"
        elif fact.event == "explanted":
            status = "explanted"
        elif fact.event == "absent":
            status = "absent"
    if status == "unknown" and view.tables.get("pump_register_complete"):
        return "absent"
    return status


class PumpStatus:
    """The pump is in one of these states; UNKNOWN while nothing is known of a pump."""

    needs = frozenset({"pump"})

    def __init__(self, states: frozenset[str]) -> None:
        self.states = states

    def ask(self, view: View) -> Found:
        status = pump_status(view)
        if status == "unknown" and "unknown" not in self.states:
            return blank("pump")
        return Found(TRUE if status in self.states else FALSE)


class PumpEvent:
    """A pump event of one of these kinds in the window, with the given details and not undone by a later one.

    UNKNOWN while the stream has carried no device event at all ("no device feed"); of registrations (implanted,
    explanted, absent) while it has not said whether there is a pump.
    """

    needs = frozenset({"pump"})

    def __init__(
        self, events: frozenset[str], within: int | None, *, level: str | None = None,
        reasons: frozenset[str] = frozenset(), results: frozenset[str] = frozenset(),
        undone_by: frozenset[str] = frozenset(), undone_results: frozenset[str] = frozenset(),
        due: bool = False, excess: tuple[float, float] | None = None, expected: tuple[float, float] | None = None,
        after_rule: str | None = None,
    ) -> None:  # fmt: skip
        self.events, self.within, self.level = events, within, level
        self.reasons, self.results = reasons, results
        self.undone_by, self.undone_results = undone_by, undone_results
        self.due, self.excess, self.expected, self.after_rule = due, excess, expected, after_rule
        self.remembers = frozenset({after_rule} if after_rule is not None else ())
        if after_rule is not None:
            self.needs = frozenset({"pump", f"rule:{after_rule}"})

    def ask(self, view: View) -> Found:
        until = NEVER
        after = -NEVER if self.within is None else view.now - self.within
        if self.after_rule is not None:
            memo = view.memo(self.after_rule)
            now_true = view.found[self.after_rule].truth == TRUE
            if memo is None and not now_true:
                return Found(FALSE)
            began = view.now if memo is None else memo.since
            if now_true and memo is not None and memo.ended is not None:
                gap = view.tables["run_gaps"].get(self.after_rule, 0)  # type: ignore[attr-defined]
                began = memo.since if view.now - memo.ended < gap else view.now
            after = max(after, began)
        for fact in reversed(view.pump_facts(self.events, after)):
            if self.level is not None and fact.level != self.level:
                continue
            if self.reasons and fact.reason not in self.reasons:
                continue
            if self.results and fact.result not in self.results:
                continue
            if self.due and (fact.date is None or fact.date > view.now):
                until = min(until, fact.date or NEVER)
                continue
            if not self._volume_fits(fact.volume_expected_ml, fact.volume_aspirated_ml):
                continue
            if self.undone_by and self._undone(view, fact.at):
                continue
            leaves = NEVER if self.within is None else fact.at + self.within
            text = " ".join(filter(None, (fact.event, fact.level, fact.reason, fact.result)))
            line = Cite("pump", None, None, fact.at, fact.available_at, text)
            return Found(TRUE, min(leaves, until), (line,))
        registered = self.events <= _REGISTRATIONS  # what a register says needs no device feed
        fed = any(registered or fact.event not in _REGISTRATIONS for fact in view.patient.pump)
        return Found(FALSE, until) if fed else blank("pump", until)

    def _undone(self, view: View, at: int) -> bool:
        later = view.pump_facts(self.undone_by, at)
        return any(not self.undone_results or fact.result in self.undone_results for fact in later)

    def _volume_fits(self, expected: float | None, aspirated: float | None) -> bool:
        if self.excess is None and self.expected is None:
            return True
        if expected is None or aspirated is None:
            return False
        least, share = self.excess or self.expected or (0.0, 0.0)
        margin = max(least, share * expected)
        if self.excess is not None:
            return aspirated - expected > margin
        return abs(aspirated - expected) <= margin


class ContextEvent:
    """A treatment or note of one of these kinds: running now, or of one of these changes in the window.

    A stream that has said nothing of this kind is FALSE, not UNKNOWN: notes are written when something is seen.
    """

    needs = frozenset({"context"})

    def __init__(
        self, kinds: frozenset[str], *, running: bool = False, changes: frozenset[str] = frozenset(),
        within: int | None = None, dose_at_least: float | None = None,
    ) -> None:  # fmt: skip
        self.kinds, self.running, self.changes = kinds, running, changes
        self.within, self.dose_at_least = within, dose_at_least

    def ask(self, view: View) -> Found:
        if self.running:
            for kind in sorted(self.kinds & view.patient.running.keys()):
                fact = view.patient.running[kind]
                return Found(TRUE, NEVER, (Cite("context", None, None, fact.at, fact.available_at, f"{kind} running"),))
        if not self.changes:
            return Found(FALSE)
        after = -NEVER if self.within is None else view.now - self.within
        masked_until: int | None = None
        for fact in reversed(view.context_facts(self.kinds, after)):
            if fact.event not in self.changes:
                continue
            if self.dose_at_least is not None and (fact.dose is None or fact.dose < self.dose_at_least):
                continue
            leaves = NEVER if self.within is None else fact.at + self.within
            if view.note_unreadable(fact.kind):
                masked_until = leaves if masked_until is None else max(masked_until, leaves)
                continue
            text = f"{fact.kind} {fact.event}" + (f" {fact.dose:g}" if fact.dose is not None else "")
            return Found(TRUE, leaves, (Cite("context", None, None, fact.at, fact.available_at, text),))
        return blank("context", masked_until) if masked_until is not None else Found(FALSE)


class HasCondition:
    """The patient has one of these long-standing conditions (begun within the window, where one is given)."""

    needs = frozenset({"stay"})

    def __init__(self, codes: frozenset[str], within: int | None) -> None:
        self.codes, self.within = codes, within

    def ask(self, view: View) -> Found:
        for condition in view.patient.stay.conditions if view.patient.stay is not None else ():
            if condition.code not in self.codes:
                continue
            if self.within is None:
                return Found(TRUE)
            if condition.since is None:
                return blank("stay")
            if condition.since + self.within > view.now:
                return Found(TRUE, condition.since + self.within)
        return Found(FALSE)


class Age:
    """Age in years in [at_least, below). An unknown age is read as adult: ICU feeds that carry none are adult ones."""

    needs = frozenset({"stay"})

    def __init__(self, at_least: float | None, below: float | None) -> None:
        self.at_least, self.below = at_least, below

    def ask(self, view: View) -> Found:
        age = view.age_years
        if age is None:
            return Found(FALSE if self.below is not None else TRUE)
        fits = (self.at_least is None or age >= self.at_least) and (self.below is None or age < self.below)
        return Found(TRUE if fits else FALSE)


class PassedSince:
    """At least ``least`` and less than ``most`` ms have passed since an event (None = it never happened)."""

    needs = frozenset({"pump"})

    def __init__(self, event: str, event_at: Callable[[View], int | None], least: int, most: int) -> None:
        self.event, self.event_at, self.least, self.most = event, event_at, least, most

    def ask(self, view: View) -> Found:
        at = self.event_at(view)
        if at is None:
            return Found(FALSE)
        if view.now < at + self.least:
            return Found(FALSE, at + self.least)
        if view.now >= at + self.most:
            return Found(FALSE)
        return Found(TRUE, at + self.most, (Cite("pump", None, None, at, at, self.event),))


def newest_pump_event(events: frozenset[str]) -> Callable[[View], int | None]:
    """A function of the view: when the newest pump event of these kinds happened; None = never."""

    def at(view: View) -> int | None:
        facts = view.pump_facts(events, -NEVER)
        return facts[-1].at if facts else None

    return at
