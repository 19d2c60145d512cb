"""What is known of pumps and treatments: facts ordered by time and content, bounded, and which of them run now."""

from __future__ import annotations

from bisect import insort
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TypeVar

from detector.clock import NEVER
from detector.events import Context, Pump
from detector.patient import ContextFact, Patient, PumpFact

F = TypeVar("F", PumpFact, ContextFact)

MOST_ALIKE = 32
"""Facts kept that say the same but for their time: beeps cannot push out an alarm, nor notes a start."""

MOST_FACTS = 96
"""Facts kept in all, of pumps and of treatments each, so that a patient's head stays below 16 kB (DESIGN.md 1)."""

RESULTS = frozenset({"ok", "stopped", "abnormal"})
"""What an interrogation can find (DESIGN.md section 2); another word is kept and counts as one of its own kind."""

LONGEST_RESULT = 32


def pump_fact(event: Pump) -> PumpFact:
    return PumpFact(
        event.at, event.event, event.level or "", event.reason or "", (event.result or "")[:LONGEST_RESULT],
        event.volume_expected_ml, event.volume_aspirated_ml, event.date, event.available_at,
    )  # fmt: skip


def context_fact(event: Context) -> ContextFact:
    return ContextFact(event.at, event.kind, event.event, event.dose, event.available_at)


def add_pump(patient: Patient, fact: PumpFact) -> bool:
    """Keep a pump event; False when it was known."""
    return _add(patient.pump, fact, _pump_alike)


def add_context(patient: Patient, fact: ContextFact) -> bool:
    """Keep a treatment or a note; False when it was known."""
    return _add(patient.context, fact, _context_alike)


def refresh_facts(patient: Patient) -> None:
    """What runs now, and when the next fact that lies in the future becomes true."""
    running: dict[str, ContextFact] = {}
    restarted: dict[str, int] = {}
    following = NEVER
    for fact in patient.context:
        if fact.at > patient.now:
            following = min(following, fact.at)
        elif fact.event == "started" and fact.kind in running:
            restarted[fact.kind] = fact.at
        elif fact.event == "started":
            running[fact.kind] = fact
        elif fact.event == "stopped" and restarted.get(fact.kind) != fact.at:
            running.pop(fact.kind, None)  # stopped and started at one instant is a change of rate: it runs on
    for known in patient.pump:
        if known.at > patient.now:
            following = min(following, known.at)
    patient.running, patient.next_fact = running, following


def _pump_alike(fact: PumpFact) -> tuple[object, ...]:
    return fact.event, fact.level, fact.reason, fact.result if fact.result in RESULTS else bool(fact.result)


def _context_alike(fact: ContextFact) -> tuple[object, ...]:
    return fact.kind, fact.event


def _add(facts: list[F], fact: F, alike: Callable[[F], tuple[object, ...]]) -> bool:
    if any(known[:-1] == fact[:-1] for known in facts):  # the last column is when it was told
        return False
    insort(facts, fact, key=_order)
    same = [known for known in facts if alike(known) == alike(fact)]
    if len(same) > MOST_ALIKE:
        facts.remove(same[0])
    if len(facts) > MOST_FACTS:
        facts.remove(_least_missed(facts, alike))
    return True


def _least_missed(facts: Sequence[F], alike: Callable[[F], tuple[object, ...]]) -> F:
    """The oldest of the most frequent kind."""
    often = Counter(map(alike, facts))
    most = max(often.values())
    return next(fact for fact in facts if often[alike(fact)] == most)


def _order(fact: PumpFact | ContextFact) -> tuple[tuple[bool, float, str], ...]:
    """A total order of facts of one kind: time first, then content; None sorts before any value."""
    return tuple(
        (value is not None, value if isinstance(value, int | float) else 0, value if isinstance(value, str) else "")
        for value in fact
    )
