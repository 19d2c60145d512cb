"""From the answers of the rules to one verdict per syndrome: severity, caps, overlays and the gate.

It reads answers only, never a window. The order is clinical-evidence.md 5.1: the highest of the rules, one step up for
interruption evidence, at most one step down for the lowering rules, then the gate. Everything withheld leaves a word
in ``withheld`` and is counted.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import structs

from detector.records import Severity
from detector.rules.book import Rule, RuleBook
from detector.rules.truth import FALSE, TRUE, UNKNOWN, Found
from detector.verdict import NOTHING, Verdict, Verdicts

WITHDRAWAL, OVERDOSE, HYPERPYREXIA = "itb_withdrawal", "itb_overdose", "hyperpyrexia"
QUERY, QUALITY, TECHNICAL = "pump_status_query", "data_quality", "technical"
OPENS_AT = {WITHDRAWAL: Severity.WATCH}
"""The least severity that opens an alert of a syndrome; info where it is not named."""


def level(rule: Rule, book: RuleBook, found: Mapping[str, Found]) -> tuple[Severity, Severity]:
    """(severity the rule stands for now, severity it could stand for if all that is UNKNOWN were true)."""
    truth = found[rule.id].truth
    if truth == FALSE:
        return Severity.NONE, Severity.NONE
    severity = possible = rule.severity
    for to, asked in rule.soften:
        if found[asked].truth == TRUE:
            severity = possible = min(severity, to)
    for to, asked in rule.escalate:
        if found[asked].truth == TRUE:
            severity = max(severity, to)
        if found[asked].truth != FALSE:
            possible = max(possible, to)
    for cap in book.caps:
        if rule.id in cap.rules and found[cap.unless].truth != TRUE:
            severity, possible = min(severity, cap.to), min(possible, cap.to)
    return (severity if truth == TRUE else Severity.NONE), possible


def fuse(book: RuleBook, found: Mapping[str, Found], *, withdrawal_open: bool) -> Verdicts:
    """The verdicts of one patient.

    Args:
        book: the rule book.
        found: its answers.
        withdrawal_open: a withdrawal alert is open: the gate of an explanted pump stays open as long as it is.
    """
    if not found:
        return NOTHING
    gate = found[book.gate].truth
    if gate != TRUE and withdrawal_open and found["pump-explanted"].truth == TRUE:
        gate = TRUE
    levels = {rule.id: level(rule, book, found) for rule in book.rules.values() if rule.severity}
    verdicts: dict[str, Verdict] = {}
    withheld: dict[str, Severity] = {}
    for rule in book.rules.values():
        if rule.syndrome == OVERDOSE and rule.severity and levels[rule.id][1]:
            verdicts[OVERDOSE] = _single(rule, levels[rule.id], found[rule.id])
    withdrawal = _withdrawal(book, found, levels)
    muted = [rule.id for rule in book.rules.values()
             if rule.suppress_when is not None and found[rule.suppress_when].truth == TRUE]  # fmt: skip
    if gate == TRUE:
        if muted and withdrawal.severity:
            withheld["overdose_pattern"] = withdrawal.severity
            withdrawal = structs.replace(withdrawal, severity=Severity.NONE, because=())
        elif withdrawal.hold > withdrawal.severity:
            withheld["post_restoration"] = withdrawal.hold
        verdicts[WITHDRAWAL] = withdrawal
    else:
        if withdrawal.severity >= OPENS_AT[WITHDRAWAL]:
            withheld["no_pump" if gate == FALSE else "pump_unknown"] = withdrawal.severity
        for rule in book.rules.values():
            if rule.any_gate and rule.syndrome == WITHDRAWAL and levels[rule.id][1]:
                verdicts[HYPERPYREXIA] = _single(rule, levels[rule.id], found[rule.id], HYPERPYREXIA)
        if gate == UNKNOWN and found[book.status_query].truth == TRUE:
            stands = {book.status_query: Severity.INFO}
            verdicts[QUERY] = Verdict(QUERY, Severity.INFO, Severity.INFO, stands, stands, (book.status_query,))
    return Verdicts(verdicts, withheld, gate)


def _single(rule: Rule, stands: tuple[Severity, Severity], found: Found, syndrome: str | None = None) -> Verdict:
    severity, possible = stands
    true = {rule.id: severity} if severity else {}
    return Verdict(
        syndrome or rule.syndrome, severity, severity, true, {rule.id: possible}, (rule.id,) if severity else (),
        blanks={rule.id: found.blanks} if found.truth == UNKNOWN else {},
    )  # fmt: skip


def _withdrawal(book: RuleBook, found: Mapping[str, Found], levels: Mapping[str, tuple[Severity, Severity]]) -> Verdict:
    mine = [rule for rule in book.rules.values() if rule.syndrome == WITHDRAWAL and rule.severity]
    stands = {rule.id: levels[rule.id][0] for rule in mine if levels[rule.id][0]}
    possible = {rule.id: levels[rule.id][1] for rule in mine if levels[rule.id][1]}
    notes = [rule.text for rule in book.rules.values()
             if rule.text and rule.kind in ("lowering", "note") and found[rule.id].truth == TRUE]  # fmt: skip
    active = [rule for rule in book.rules.values() if found[rule.id].truth == TRUE]
    overlays: list[str] = []
    first: list[str] = []
    lowered = dict(stands)
    everywhere: Severity | None = None
    for rule in active:
        if not rule.lower_steps:
            continue
        overlays.append(rule.id)
        if rule.lower_differential:
            first.append(rule.lower_differential)
        if rule.lower_rules:
            for other in rule.lower_rules:
                if other in lowered:
                    lowered[other] = _down(lowered[other], rule.lower_floor)
        else:
            everywhere = rule.lower_floor if everywhere is None else max(everywhere, rule.lower_floor)
    quiet = {other for rule in book.rules.values() if rule.quiet_when and found[rule.quiet_when].truth == TRUE
             for other in rule.quiet_rules if stands.get(other, Severity.NONE) <= book.rules[other].severity}  # fmt: skip
    raising = [rule for rule in active if rule.raise_steps]

    def total(counted: Mapping[str, Severity], floor: Severity | None) -> Severity:
        moved = max((s for k, s in counted.items() if not book.rules[k].exempt), default=Severity.NONE)
        for rule in raising:
            spared = rule.raise_spares if rule.raise_spares_when and found[rule.raise_spares_when].truth == TRUE else ()
            lifted = max((s for k, s in counted.items() if not book.rules[k].exempt and k not in spared),
                         default=Severity.NONE)  # fmt: skip
            if not lifted:
                continue
            raised = Severity(min(lifted + rule.raise_steps, Severity.CRITICAL))
            condition = rule.raise_critical_when
            if raised == Severity.CRITICAL and condition is not None and found[condition].truth != TRUE:
                raised = max(lifted, Severity.WARNING)
            moved = max(moved, raised)
        if floor is not None and moved:
            moved = _down(moved, floor)
        return max([moved, *(s for k, s in counted.items() if book.rules[k].exempt)])

    def at_most_one_step(counted: frozenset[str]) -> Severity:
        """L-17 lowers single rules and L-18 and L-19 the whole; together they lower by one step in all (5.1)."""
        plain = total({k: stands[k] for k in counted}, None)
        return max(total({k: lowered[k] for k in counted}, everywhere), Severity(max(plain - 1, 0)))

    severity = at_most_one_step(frozenset(stands) - quiet)
    hold = at_most_one_step(frozenset(stands))
    strongest = sorted(stands, key=lambda k: (-stands[k], k))
    because = (*strongest, *overlays)
    blanks = {rule.id: found[rule.id].blanks for rule in mine if found[rule.id].truth == UNKNOWN}
    return Verdict(WITHDRAWAL, severity, hold, stands, possible, because, tuple(notes), tuple(first), blanks)


def _down(severity: Severity, floor: Severity) -> Severity:
    return max(Severity(severity - 1), min(floor, severity))
