"""Champion against challenger: where two plans that saw the same stays differ.

Alerts of one stay and syndrome that stand at the same time, on either side, are one *matter*: alert ids differ as soon
as two plans open in different minutes, so they cannot say what belongs together. A matter is compared by the highest
severity that each side reached, and by when it first stood there.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal, NamedTuple, get_args

from detector.clock import HOUR, MINUTE, NEVER
from detector.records import SEVERITIES, AlertRecord, Severity
from detector.writing import NEWEST
from pipelines.formats.times import parse_time
from pipelines.results import COUNTED_STATES

REFIRES_AFTER = 12 * HOUR
"""A warning counts when it comes at least so long after the last counted one of its stay (as in ``evaluate``)."""

TIERS = ("watch", "warning", "critical")
Kind = Literal["only_champion", "only_challenger", "higher", "lower", "earlier", "later", "same"]
"""What the challenger does to a matter, seen from the champion."""

KINDS: tuple[Kind, ...] = get_args(Kind)


class Stood(NamedTuple):
    """One alert of one side: from when to when it stood (ms UTC), and when it first stood at each severity.

    ``before`` is its severity before its first record here; None = it was opened here.
    """

    start: int
    end: int
    reached: dict[int, int]
    before: str | None
    asks: bool
    rules: tuple[str, ...]


class Difference(NamedTuple):
    """One matter. ``hours``: how much later the challenger reached the highest severity that both reached (negative =
    earlier); None = one of them never asked. ``rules``: those behind the highest severity of each side.
    """

    patient_id: str
    stay_id: str | None
    syndrome: str
    kind: Kind
    champion: str | None
    challenger: str | None
    hours: float | None
    champion_rules: tuple[str, ...]
    challenger_rules: tuple[str, ...]


class Side(NamedTuple):
    """The records of one plan. ``plans`` are the digests that made them."""

    name: str
    records: Sequence[AlertRecord]
    plans: tuple[str, ...]


def side(name: str, records: Iterable[AlertRecord]) -> Side:
    """The records of patients; those of the service itself are left out."""
    kept = [one for one in records if not (one.syndrome == "technical" and one.stay_id is None)]
    return Side(name, kept, tuple(sorted({one.provenance.plan_digest for one in kept})))


def differences(champion: Side, challenger: Side) -> list[Difference]:
    """Every matter on which somebody asked for attention, the same ones too; ordered by patient, stay and syndrome."""
    mine, theirs = _by_stay(champion.records), _by_stay(challenger.records)
    found: list[Difference] = []
    for key in sorted(mine.keys() | theirs.keys(), key=lambda one: (one[0], one[1] or "", one[2])):
        for ours, others in _matters(mine.get(key, []), theirs.get(key, [])):
            if any(one.asks for one in (*ours, *others)):
                found.append(_difference(key, ours, others))
    return found


def burden(records: Iterable[AlertRecord], tier: str) -> int:
    """Opened and raised records of ``tier`` or higher, each at least 12 h after the last counted one of its stay."""
    return sum(1 for _ in _counted(records, tier))


def by_rule(champion: Side, challenger: Side) -> dict[str, tuple[int, int]]:
    """Rule -> counted warnings of either side that cite it."""
    counts = [
        Counter(rule for one in _counted(s.records, "warning") for rule in _rules(one)) for s in (champion, challenger)
    ]
    return {rule: (counts[0][rule], counts[1][rule]) for rule in sorted(counts[0].keys() | counts[1].keys())}


def table(found: Iterable[Difference]) -> dict[str, dict[Kind, int]]:
    """Syndrome -> kind -> matters."""
    counts: defaultdict[str, Counter[Kind]] = defaultdict(Counter)
    for one in found:
        counts[one.syndrome][one.kind] += 1
    return {syndrome: {kind: counts[syndrome][kind] for kind in KINDS} for syndrome in sorted(counts)}


Key = tuple[str, str | None, str]


def _by_stay(records: Iterable[AlertRecord]) -> dict[Key, list[Stood]]:
    alerts: defaultdict[str, list[AlertRecord]] = defaultdict(list)
    for record in records:
        alerts[record.alert_id].append(record)
    stays: defaultdict[Key, list[Stood]] = defaultdict(list)
    for steps in alerts.values():
        steps.sort(key=lambda one: one.sequence)
        stays[steps[0].patient_id, steps[0].stay_id, steps[0].syndrome].append(_stood(steps))
    return stays


def _stood(steps: Sequence[AlertRecord]) -> Stood:
    reached: dict[int, int] = {}
    worst, rules = 0, tuple[str, ...]()
    for one in steps:
        severity = SEVERITIES[one.severity]
        if one.state != "resolved":
            reached.setdefault(severity, parse_time(one.at))
        if severity > worst and one.evidence:
            worst, rules = severity, _rules(one)
    end = parse_time(steps[-1].at) if steps[-1].state == "resolved" else NEVER
    first = steps[0]
    before = None if first.sequence == 1 else first.previous_severity or first.severity
    asks = any(one.state in COUNTED_STATES for one in steps)
    return Stood(parse_time(first.at), end, reached, before, asks, rules)


def _matters(ours: Sequence[Stood], theirs: Sequence[Stood]) -> Iterator[tuple[list[Stood], list[Stood]]]:
    """Alerts of both sides that stand at one time, or touch, together."""
    every = sorted([*((one, 0) for one in ours), *((one, 1) for one in theirs)], key=lambda pair: pair[0].start)
    together: tuple[list[Stood], list[Stood]] = [], []
    end = -NEVER
    for one, which in every:
        if one.start > end and (together[0] or together[1]):
            yield together
            together, end = ([], []), -NEVER
        together[which].append(one)
        end = max(end, one.end)
    if together[0] or together[1]:
        yield together


def _difference(key: Key, ours: Sequence[Stood], theirs: Sequence[Stood]) -> Difference:
    mine, other = _worst(ours, theirs), _worst(theirs, ours)
    hours = None
    kind: Kind
    if mine is None or other is None:
        kind = "only_challenger" if mine is None else "only_champion"
    else:
        shared = min(mine, other)
        reached = [_first(one, shared) for one in (ours, theirs)]
        if reached[0] is not None and reached[1] is not None:
            hours = round((reached[1] - reached[0]) / HOUR, 2)
        moved = 0 if hours is None else hours * HOUR
        kind = (
            "higher" if other > mine else "lower" if other < mine
            else "earlier" if moved <= -MINUTE else "later" if moved >= MINUTE else "same"
        )  # fmt: skip
    return Difference(*key, kind, _word(mine), _word(other), hours, _behind(ours), _behind(theirs))


def _word(severity: int | None) -> str | None:
    return None if severity is None else Severity(severity).word


def _worst(side: Sequence[Stood], other: Sequence[Stood]) -> int | None:
    """The highest severity of a side; one that said nothing still stands where both stood before their first record."""
    reached = [severity for one in side for severity in one.reached]
    before = [SEVERITIES[one.before] for one in (*side, *(other if not side else ())) if one.before is not None]
    return max([*reached, *before], default=None)


def _first(side: Sequence[Stood], severity: int) -> int | None:
    if any(one.before is not None and SEVERITIES[one.before] >= severity for one in side):
        return min(one.start for one in side)
    return min((at for one in side for level, at in one.reached.items() if level >= severity), default=None)


def _behind(side: Sequence[Stood]) -> tuple[str, ...]:
    return max(((max(one.reached, default=0), one.rules) for one in side), default=(0, ()))[1]


def _rules(record: AlertRecord) -> tuple[str, ...]:
    return tuple(dict.fromkeys(line.rule for line in record.evidence if line.rule != NEWEST))


def _counted(records: Iterable[AlertRecord], tier: str) -> Iterator[AlertRecord]:
    last: dict[tuple[str, str | None], int] = {}
    asking = (one for one in records if one.state in COUNTED_STATES and SEVERITIES[one.severity] >= SEVERITIES[tier])
    for one in sorted(asking, key=lambda one: (one.at, one.alert_id, one.sequence)):
        at, stay = parse_time(one.at), (one.patient_id, one.stay_id)
        if at - last.get(stay, -NEVER) >= REFIRES_AFTER:
            last[stay] = at
            yield one


def as_dict(one: Difference) -> dict[str, Any]:
    """A difference as plain data, lists for the rules."""
    return one._asdict() | {"champion_rules": list(one.champion_rules), "challenger_rules": list(one.challenger_rules)}
