"""Asking the book about one patient at its now: only what may have changed is asked again.

An answer stands until something it needs changes or until the time it names (``Found.until``). Keeping it is a saving,
never a decision: asking everything afresh gives the same answers (a property in tests).
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum

from detector.clock import NEVER
from detector.ledger import Ledger
from detector.patient import MOST_STARTS, Memo, Patient
from detector.rules.book import RuleBook
from detector.rules.truth import FALSE, TRUE, WORDS, Found
from detector.rules.view import View


class Moved(IntEnum):
    """What asking changed: nothing; only newer readings of what was true already; or something to decide on."""

    NOTHING = 0
    FRESHER = 1
    ANSWERS = 2


def ask(book: RuleBook, view: View, changed: Iterable[str], ledger: Ledger) -> Moved:
    """Bring ``patient.found``, its memory and its due time up to ``view.now``.

    Texts for the bedside are asked only while some rule of the book speaks: nothing else is ever shown.
    """
    patient, now, index = view.patient, view.now, book.index
    if not patient.untils:
        patient.untils = [NEVER] * len(book.asked)
        patient.standing, patient.fallen = {}, 0
        pending = index.everything & ~index.displays
    else:
        pending = 0
        for name in changed:
            pending |= index.readers.get(name, 0)
            patient.fallen |= index.standing.get(name, 0)
        if patient.asked_due <= now:
            for number, until in enumerate(patient.untils):
                if until <= now:
                    pending |= 1 << number
    hidden = index.displays if not patient.true_rules else 0
    moved, fresh = _ask_pending(book, view, pending & ~hidden, ledger)
    if patient.true_rules and hidden:
        more, _ = _ask_pending(book, view, index.displays, ledger)
        moved = max(moved, more)
    elif not patient.true_rules and not hidden:
        for number, asked in enumerate(book.asked):
            if asked.display:
                patient.found.pop(asked.id, None)
                patient.untils[number] = NEVER
    if fresh:
        remember(book, patient, now)
    patient.asked_due = patient.due = min(patient.untils)
    return moved


def _ask_pending(book: RuleBook, view: View, pending: int, ledger: Ledger) -> tuple[Moved, bool]:
    """Ask in order; an answer that changed makes those who read it pending; the second value says whether a truth changed."""
    patient, found, index = view.patient, view.found, book.index
    hidden = index.displays if not patient.true_rules else 0
    moved, turned = Moved.NOTHING, False
    while pending:
        bit = pending & -pending
        pending ^= bit
        number = bit.bit_length() - 1
        asked = book.asked[number]
        old = found.get(asked.id)
        new = found[asked.id] = asked.term.ask(view)
        patient.untils[number] = new.until
        if asked.rule:
            ledger.add("rule_evaluations_total", asked.id, WORDS[new.truth])
            patient.true_rules = patient.true_rules | bit if new.truth == TRUE else patient.true_rules & ~bit
        if old is not None and new.truth == old.truth and new[2:] == old[2:]:
            continue
        pending |= index.readers.get(f"rule:{asked.id}", 0) & ~hidden
        turned |= old is None or new.truth != old.truth
        moved = max(moved, _weight(view, old, new))
    return moved, turned


def _weight(view: View, old: Found | None, new: Found) -> Moved:
    """New vital readings behind an answer that stands are fresher, not different: they make no new record."""
    if old is None or new.truth != old.truth or new.blanks != old.blanks:
        return Moved.ANSWERS
    if _first(new) < _first(old):
        return Moved.ANSWERS
    signals = view.catalogue.signals

    def key(found: Found) -> set[tuple[str, int, float | None]]:
        return {
            (line.signal, 0, None)
            if line.signal in signals and not signals[line.signal].is_lab
            else (line.signal, line.effective_at, line.value)
            for line in found.cites
        }

    return Moved.FRESHER if key(old) == key(new) else Moved.ANSWERS


def _first(found: Found) -> int:
    return min((line.effective_at for line in found.cites), default=NEVER)


def remember(book: RuleBook, patient: Patient, now: int) -> None:
    """When each remembered rule was true, from what was known before this instant and what is known in it."""
    base = patient.memory_base
    memory = dict(base)
    for identity in book.remembered:
        answer = patient.found.get(identity, Found(FALSE))
        memo = base.get(identity)
        if answer.truth == TRUE:
            if memo is None:
                memory[identity] = Memo(now, None, (now,))
            elif memo.ended is not None:
                gap = book.run_gaps.get(identity, 0)
                since = memo.since if now - memo.ended < gap else now
                memory[identity] = Memo(since, None, (*memo.starts, now)[-MOST_STARTS:])
        elif memo is not None and memo.ended is None:
            memory[identity] = memo._replace(ended=now)
    patient.memory = memory
