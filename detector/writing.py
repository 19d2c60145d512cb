"""Alert records: what a clinician and a downstream system read (order and wording of clinical-evidence.md 5.4).

A record says what was known at its instant: why (evidence, newest first), what is missing, what argues against, what
else it could be and what to check. It never says "diagnosis" and never carries a dose.
"""

from __future__ import annotations

from collections.abc import Iterator

from detector.clock import rfc3339
from detector.episode import Episode
from detector.fuse import HYPERPYREXIA, OVERDOSE, QUALITY, QUERY, TECHNICAL, WITHDRAWAL
from detector.plan import Plan
from detector.records import AlertRecord, Differential, Evidence, Gate, Provenance
from detector.rules.book import Shown
from detector.rules.scored import SCORE, STANDS
from detector.rules.truth import TRUE, Cite
from detector.steps import Step
from detector.verdict import Verdict

MOST_LINES = 40
WITHDRAWAL_SCORE = "withdrawal"
"""The score that a record carries; the others are evidence only."""
NEWEST = "newest"
"""Stands for the rule of an evidence line that no rule cites: the newest value of a signal of the panel."""

TITLES = {
    WITHDRAWAL: "Pattern compatible with baclofen withdrawal",
    OVERDOSE: "Pattern compatible with intrathecal baclofen overdose",
    HYPERPYREXIA: "Hyperpyrexia",
    QUERY: "Does the patient have an intrathecal baclofen pump?",
    QUALITY: "A value is only plausible in another unit",
    TECHNICAL: "Most records lie in the future: a clock is wrong",
}


def citing(step: Step, verdict: Verdict | None, key: str) -> dict[str, tuple[Cite, ...]]:
    """The evidence of each true rule of one syndrome."""
    if key.startswith((QUALITY, TECHNICAL)):
        lines = tuple(
            Cite(s.signal, s.value, s.unit, s.effective_at, s.available_at, f"only plausible in {s.looks_like}")
            for s in step.suspects
            if key.endswith(f":{s.signal}")
        )
        return {key.partition(":")[0]: lines} if verdict is not None and verdict.true else {}
    return {rule: step.found[rule].cites for rule in (verdict.true if verdict is not None else ())}


def evidence_keys(plan: Plan, cites: dict[str, tuple[Cite, ...]]) -> dict[str, tuple[str, ...]]:
    """What makes evidence new: a laboratory value each time, anything that moves all the time once a rule."""
    keys: dict[str, tuple[str, ...]] = {}
    for rule, lines in cites.items():
        mine: dict[str, None] = {}
        for line in lines:
            signal = plan.catalogue.signals.get(line.signal)
            lasting = line.signal != SCORE and (signal is None or signal.is_lab)
            mine[f"{line.signal}@{line.effective_at}={line.value}" if lasting else line.signal] = None
        keys[rule] = tuple(mine)
    return keys


def onset(cites: dict[str, tuple[Cite, ...]], now: int) -> int | None:
    """The earliest effective time among the readings and events that make a now-true rule true, never after now."""
    times = [line.effective_at for lines in cites.values() for line in lines]
    return min(*times, now) if times else None


def write(
    plan: Plan, step: Step, verdict: Verdict | None, episode: Episode, before: Episode | None, state: str, at: int,
    sequence: int,
) -> AlertRecord:  # fmt: skip
    """One record of an alert at an instant; ``before`` is the alert as it was last published (None = not yet)."""
    cites = citing(step, verdict, episode.key)
    since = onset(cites, at)
    same = before is not None and before.alert_id == episode.alert_id
    return AlertRecord(
        alert_id=episode.alert_id,
        sequence=sequence,
        patient_id=step.patient_id,
        stay_id=episode.stay_id,
        syndrome=episode.syndrome,
        severity=episode.severity.word,
        state=state,
        previous_severity=before.severity.word if same and before is not None else None,
        reason=_reason(state, episode, verdict),
        at=rfc3339(at),
        onset_at=rfc3339(min(since if since is not None else episode.onset_at or at, at)),
        headline=_headline(plan, episode, verdict),
        evidence=tuple(_evidence(cites, _panel(plan, step, episode, cites))),
        missing=(*_texts(step, plan.book.missing), *_indeterminate(step, at)) if episode.syndrome == WITHDRAWAL else (),
        against=_against(plan, step, verdict, episode),
        differentials=_differentials(plan, step, verdict, episode),
        checks=_texts(step, plan.book.checks) if episode.syndrome in (WITHDRAWAL, OVERDOSE, HYPERPYREXIA) else (),
        score=_score(step, at),
        gate=Gate(step.pump, _interruption(step)),
        provenance=Provenance(
            plan.digest, plan.rules_version, plan.models, (step.position,) if step.position is not None else ()
        ),
        unit=step.stay.unit if step.stay is not None else episode.unit,
    )


def _score(step: Step, at: int) -> float | None:
    known = step.scores.get(WITHDRAWAL_SCORE)
    return known[1].value if known is not None and known[0] + STANDS > at else None


def _indeterminate(step: Step, at: int) -> Iterator[str]:
    known = step.scores.get(WITHDRAWAL_SCORE)
    if known is not None and known[1].value is None and known[0] + STANDS > at:
        yield f"withdrawal score: indeterminate, {known[1].reason}"


def _reason(state: str, episode: Episode, verdict: Verdict | None) -> str:
    if state in ("opened", "raised") and verdict is not None and verdict.because:
        return " ".join(verdict.because)
    if state == "amended":
        return "evidence_corrected" if episode.corrected_at is not None and episode.resolved else "evidence_changed"
    return episode.reason


def _headline(plan: Plan, episode: Episode, verdict: Verdict | None) -> str:
    title = TITLES[episode.syndrome]
    if episode.syndrome not in (WITHDRAWAL, HYPERPYREXIA, OVERDOSE):
        return title
    rules = [plan.book.rules[rule] for rule in (verdict.because if verdict is not None else ())]
    speaking = [rule for rule in rules if rule.kind == "rule"]
    why = f": {speaking[0].headline} ({', '.join(rule.id for rule in speaking)})" if speaking else ""
    return f"{title}, {episode.severity.word}{why}"


def _panel(plan: Plan, step: Step, episode: Episode, cites: dict[str, tuple[Cite, ...]]) -> tuple[Cite, ...]:
    """The newest values of the mission's signals that no rule cites: a reader wants them beside the others."""
    if episode.syndrome != WITHDRAWAL:
        return ()
    cited = {(line.signal, line.effective_at) for lines in cites.values() for line in lines}
    newest = [line for shown in plan.book.panel if _speaks(step, shown) for line in step.found[shown.id].cites]
    return tuple(line for line in newest if (line.signal, line.effective_at) not in cited)


def _evidence(cites: dict[str, tuple[Cite, ...]], panel: tuple[Cite, ...]) -> Iterator[Evidence]:
    lines = {(rule, line.signal, line.effective_at, line.value, line.change): (rule, line)
             for rule, those in cites.items() for line in those}  # fmt: skip
    newest_first = sorted(
        lines.values(), key=lambda pair: (-pair[1].effective_at, pair[0], pair[1].signal, pair[1].value or 0.0)
    )
    shown = newest_first[: MOST_LINES - len(panel)] + [(NEWEST, line) for line in panel]
    for rule, line in sorted(shown, key=lambda pair: -pair[1].effective_at):
        yield Evidence(
            rule, line.signal, line.value, line.unit, rfc3339(line.effective_at), rfc3339(line.available_at),
            line.change, line.source,
        )  # fmt: skip


def _speaks(step: Step, shown: Shown) -> bool:
    return shown.id in step.found and step.found[shown.id].truth == TRUE


def _texts(step: Step, group: tuple[Shown, ...]) -> tuple[str, ...]:
    return tuple(shown.text for shown in group if _speaks(step, shown))


def _against(plan: Plan, step: Step, verdict: Verdict | None, episode: Episode) -> tuple[str, ...]:
    if episode.syndrome != WITHDRAWAL:
        return ()
    return (*(verdict.notes if verdict is not None else ()), *_texts(step, plan.book.against))


def _differentials(plan: Plan, step: Step, verdict: Verdict | None, episode: Episode) -> tuple[Differential, ...]:
    if episode.syndrome not in (WITHDRAWAL, OVERDOSE, HYPERPYREXIA):
        return ()
    points = dict(step.points)
    first = verdict.first if verdict is not None else ()
    speaking = [shown for shown in plan.book.differentials if _speaks(step, shown) and shown.name is not None]
    ranked = sorted(speaking, key=lambda shown: (shown.name not in first, shown.rank))
    unique = {shown.name: shown for shown in reversed(ranked)}
    return tuple(
        Differential(
            shown.name or "", shown.text + (f" (at least {points[shown.name]} points)" if shown.name in points else "")
        )
        for shown in ranked
        if unique[shown.name] is shown
    )


def _interruption(step: Step) -> str:
    found = step.found.get("CTX-02")
    return ("no", "unknown", "yes")[found.truth] if found is not None else "unknown"
