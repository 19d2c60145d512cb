"""The rule book: every rule, guard and bedside text of ``catalogue/rules``, ready to be asked in order.

A rule is asked after the rules it names. Its side conditions (escalations, softenings, overlay conditions) are asked
as rules of their own, so that pass 2 decides from answers alone and never looks at a window.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct, structs

from detector.records import Severity


class Asked(Struct, frozen=True):
    """One question of the book. ``rule`` = it is a rule whose truth is counted; ``display`` = it is only shown."""

    id: str
    term: Any
    needs: frozenset[str]
    rule: bool = False
    display: bool = False
    run_gap: int = 0


class Index(Struct, frozen=True):
    """Who must be asked again, as bit sets over the order of asking: bit i stands for ``asked[i]``.

    ``readers`` maps what can change (a signal, ``pump``, ``context``, ``stay``, ``rule:ID``) to those who read it,
    ``standing`` to the questions whose kept answers it makes fall (bit i stands for the one of number i).
    """

    readers: dict[str, int]
    rules: int
    displays: int
    everything: int
    standing: dict[str, int]


class Rule(Struct, frozen=True):
    """What a true rule does. Side conditions are named by the id under which they are asked."""

    id: str
    kind: str
    title: str
    severity: Severity
    syndrome: str
    headline: str
    text: str | None
    escalate: tuple[tuple[Severity, str], ...]
    soften: tuple[tuple[Severity, str], ...]
    raise_steps: int
    raise_spares: tuple[str, ...]
    raise_spares_when: str | None
    raise_critical_when: str | None
    lower_steps: int
    lower_floor: Severity
    lower_rules: tuple[str, ...]
    lower_differential: str | None
    suppress_when: str | None
    suppress_syndrome: str | None
    quiet_when: str | None
    quiet_rules: tuple[str, ...]
    exempt: bool
    any_gate: bool


class Cap(Struct, frozen=True):
    id: str
    rules: tuple[str, ...]
    to: Severity
    unless: str


class Shown(Struct, frozen=True):
    """A text that is shown while its condition (asked under ``id``) is true."""

    id: str
    text: str
    name: str | None
    rank: int


class RuleBook(Struct, frozen=True):
    """Everything the rule files say. ``asked`` is in the order in which it must be asked; ``late`` is asked in pass 2,
    because it reads a score.
    """

    version: str
    asked: tuple[Asked, ...]
    late: tuple[Asked, ...]
    index: Index
    rules: dict[str, Rule]
    caps: tuple[Cap, ...]
    masks: Any
    tables: dict[str, Any]
    remembered: frozenset[str]
    run_gaps: dict[str, int]
    panel: tuple[Shown, ...]
    missing: tuple[Shown, ...]
    against: tuple[Shown, ...]
    differentials: tuple[Shown, ...]
    checks: tuple[Shown, ...]
    scores: tuple[tuple[str, Any], ...]
    status_query: str
    status_query_headline: str
    gate: str


def index_of(ordered: list[Asked], standing: dict[str, int]) -> Index:
    """Who reads what, among these and among the questions that are kept."""
    readers: dict[str, int] = {}
    rules = displays = 0
    for number, asked in enumerate(ordered):
        bit = 1 << number
        rules |= bit if asked.rule else 0
        displays |= bit if asked.display else 0
        for need in asked.needs:
            readers[need] = readers.get(need, 0) | bit
    return Index(readers, rules, displays, (1 << len(ordered)) - 1, standing)


def only(book: RuleBook, identity: str) -> RuleBook:
    """The book with one question, and what it names, as all there is to ask."""
    by_id = {asked.id: asked for asked in book.asked}
    wanted, pending = set(), [identity]
    while pending:
        asked = by_id[pending.pop()]
        if asked.id not in wanted:
            wanted.add(asked.id)
            pending += [need.removeprefix("rule:") for need in asked.needs if need.startswith("rule:")]
    kept = [asked for asked in book.asked if asked.id in wanted]
    return structs.replace(
        book, asked=tuple(kept), late=(), index=index_of(kept, book.index.standing), remembered=frozenset(), scores=()
    )
