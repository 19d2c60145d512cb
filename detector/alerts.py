"""The life of an alert, as a table.

Everything that moves an alert from one state to another as time goes on is in ``TABLE``; a pair that is not there does
not happen. (Within one instant a decision may be taken back, and a merge may hand an alert over: ``detector.deciding``.)
Two clocks run beside the state and are not states themselves: how long a lower verdict has been known (six hours make
one step down) and how long no rule has been true (twelve hours end it). Time in which a rule that is evidence of the
alert is UNKNOWN stops both clocks: unknown is not better.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

import msgspec

from detector.clock import NEVER
from detector.episode import Episode
from detector.events import Acknowledgement
from detector.fuse import OPENS_AT
from detector.plan import CLEAR_AFTER, LOWER_AFTER, REMIND_AFTER, SILENCE
from detector.records import Severity
from detector.verdict import Verdict


class Stimulus(Enum):
    """What can happen to an alert; the value is the reason a record gives, where no rule is the reason."""

    OPENS = "opens"
    RISES = "severity_rise"
    NEW_CRITICAL = "new_critical_rule"
    FALLS = "known_lower_for_6h"
    CLEARS = "no_rule_true_for_12h"
    CORRECTED = "evidence_corrected"
    ENDS = "stay_ended"
    SUPERSEDED = "gate_changed"
    SILENCE_ENDS = "silence_over"
    UNANSWERED = "unanswered_for_12h"
    ACKNOWLEDGED = "acknowledged"
    SNOOZED = "snoozed"


QUIET, OPEN, ACKNOWLEDGED, SNOOZED, RESOLVED = "quiet", "open", "acknowledged", "snoozed", "resolved"
LIVING = (OPEN, ACKNOWLEDGED, SNOOZED)

TABLE: dict[tuple[str, Stimulus], str] = {
    (QUIET, Stimulus.OPENS): OPEN,
    **{(state, Stimulus.RISES): OPEN for state in LIVING},
    **{(state, Stimulus.NEW_CRITICAL): OPEN for state in (ACKNOWLEDGED, SNOOZED)},
    **{(state, Stimulus.FALLS): state for state in LIVING},
    **{
        (state, end): RESOLVED
        for state in LIVING
        for end in (Stimulus.CLEARS, Stimulus.CORRECTED, Stimulus.ENDS, Stimulus.SUPERSEDED)
    },
    **{(state, Stimulus.SILENCE_ENDS): OPEN for state in (ACKNOWLEDGED, SNOOZED)},
    (OPEN, Stimulus.UNANSWERED): OPEN,
    **{(state, Stimulus.ACKNOWLEDGED): ACKNOWLEDGED for state in LIVING},
    **{(state, Stimulus.SNOOZED): SNOOZED for state in LIVING},
}


class Known(NamedTuple):
    """What is known at the instant of a decision about one syndrome.

    ``keys`` are the evidence keys of each true rule, ``corrected`` the signals of which a reading was replaced or
    removed in this instant, ``was_true`` whether some rule was true when the instant began.
    """

    now: int
    verdict: Verdict | None
    keys: dict[str, tuple[str, ...]]
    onset_at: int | None
    corrected: frozenset[str]
    was_true: bool
    ended: str | None
    superseded: bool


def is_lower(episode: Episode, verdict: Verdict | None) -> bool:
    """A lower verdict is known: it lies below the alert, and no rule that is evidence of the alert has an unknown
    part that, with one step up from an overlay, could bring the severity back.
    """
    if verdict is None:
        return True
    if verdict.hold >= episode.severity:
        return False
    could = (possible for rule, possible in verdict.possible.items()
             if rule in episode.cited and possible > verdict.true.get(rule, Severity.NONE)
             and (rule in verdict.true or is_unread(episode, verdict, rule)))  # fmt: skip
    return all(possible + 1 < episode.severity for possible in could)


def is_clear(episode: Episode, verdict: Verdict | None) -> bool:
    """No rule is true, and none that is evidence of this alert is unknown."""
    if verdict is None:
        return True
    return not verdict.true and not any(is_unread(episode, verdict, rule) for rule in episode.cited)


def is_unread(episode: Episode, verdict: Verdict, rule: str) -> bool:
    """A rule that is evidence of the alert is unknown for want of something it was evidence by.

    Tone that was never graded does not keep an alert open that a nurse's note opened; a temperature that is no longer
    measured keeps open what fever opened.
    """
    return rule in verdict.blanks and not verdict.blanks[rule].isdisjoint(_signals(episode.cited.get(rule, ())))


def run_clocks(episode: Episode, verdict: Verdict | None, elapsed: int) -> Episode:
    """The episode after ``elapsed`` ms in which the verdict stood as it was."""
    if not elapsed or episode.resolved:
        return episode
    lower = episode.lower_ms + elapsed if is_lower(episode, verdict) else episode.lower_ms
    clear = episode.clear_ms + elapsed if is_clear(episode, verdict) else episode.clear_ms
    if lower == episode.lower_ms and clear == episode.clear_ms:
        return episode
    return msgspec.structs.replace(episode, lower_ms=lower, clear_ms=clear)


def next_due(episode: Episode, verdict: Verdict | None, now: int) -> int:
    """The first instant at which time alone would move this alert."""
    due = NEVER
    if is_lower(episode, verdict) and episode.severity > floor(episode, verdict):
        due = min(due, now + LOWER_AFTER - episode.lower_ms)
    if is_clear(episode, verdict):
        due = min(due, now + CLEAR_AFTER - episode.clear_ms)
    if episode.silent_until is not None:
        due = min(due, episode.silent_until)
    elif episode.severity > Severity.INFO:
        due = min(due, asked_at(episode) + REMIND_AFTER)
    return due


def floor(episode: Episode, verdict: Verdict | None) -> Severity:
    """The lowest severity an open alert is lowered to; below it, it is resolved."""
    least = OPENS_AT.get(episode.syndrome, Severity.INFO)
    return max(verdict.hold if verdict is not None else Severity.NONE, min(least, episode.severity))


def asked_at(episode: Episode) -> int:
    """When the alert last asked for an answer."""
    return max(episode.opened_at, episode.raised_at or 0, episode.reminded_at or 0, episode.answered_at or 0)


def move(episode: Episode, stimulus: Stimulus, **changes: object) -> Episode:
    """The episode after a stimulus; unchanged when the table has no such move."""
    state = TABLE.get((episode.state, stimulus))
    if state is None:
        return episode
    changes["reason"] = stimulus.value
    if state == OPEN:
        changes.setdefault("silent_until", None)
    if state == RESOLVED:
        changes["resolved"] = True
    return msgspec.structs.replace(episode, state=state, **changes)


def settle(episode: Episode, known: Known) -> Episode:
    """What becomes of an open alert, given all that is known at this instant. Acknowledgements come after."""
    verdict, now = known.verdict, known.now
    true = verdict.true if verdict is not None else {}
    if known.ended is not None:
        return msgspec.structs.replace(move(episode, Stimulus.ENDS), reason=known.ended)
    if known.superseded:
        return move(episode, Stimulus.SUPERSEDED)
    if known.was_true and not true and any(_signals(keys) & known.corrected for keys in episode.cited.values()):
        return move(episode, Stimulus.CORRECTED, corrected_at=now)
    if true:
        episode = _replaced(episode, clear_ms=0)
    if verdict is not None and verdict.hold >= episode.severity:
        episode = _replaced(episode, lower_ms=0)
    if verdict is not None and verdict.severity > episode.severity:
        episode = move(episode, Stimulus.RISES, severity=verdict.severity, raised_at=now, lower_ms=0)
    elif is_clear(episode, verdict) and episode.clear_ms >= CLEAR_AFTER:
        return move(episode, Stimulus.CLEARS)
    elif episode.lower_ms >= LOWER_AFTER and is_lower(episode, verdict) and episode.severity > floor(episode, verdict):
        episode = move(episode, Stimulus.FALLS, severity=Severity(episode.severity - 1), lower_ms=0)
    critical = tuple(sorted(rule for rule, severity in true.items() if severity == Severity.CRITICAL))
    fresh = set(critical) - set(episode.critical_rules)
    if fresh and episode.severity == Severity.CRITICAL:
        episode = move(episode, Stimulus.NEW_CRITICAL, raised_at=now)
    episode = _replaced(episode, critical_rules=tuple(sorted({*critical, *episode.critical_rules})))
    if episode.silent_until is not None and episode.silent_until <= now:
        episode = move(episode, Stimulus.SILENCE_ENDS, reminded_at=now)
    elif (
        episode.state == OPEN and episode.severity > Severity.INFO and now - asked_at(episode) >= REMIND_AFTER
    ):  # fmt: skip
        episode = move(episode, Stimulus.UNANSWERED, reminded_at=now)
    return _cite(episode, known)


def _cite(episode: Episode, known: Known) -> Episode:
    """Add what is evidence now; what was shown before stays on the record of this alert."""
    cited = dict(episode.cited)
    for rule, keys in known.keys.items():
        shown = cited.get(rule, ())
        fresh = tuple(key for key in keys if key not in shown)
        if fresh or rule not in cited:
            cited[rule] = (*shown, *fresh)[-MOST_KEYS:]
    onset = episode.onset_at
    if known.onset_at is not None:
        onset = known.onset_at if onset is None else min(onset, known.onset_at)
    shown_corrected = known.corrected and any(_signals(keys) & known.corrected for keys in episode.cited.values())
    if cited == episode.cited and onset == episode.onset_at and not shown_corrected:
        return episode
    corrected_at = known.now if shown_corrected else episode.corrected_at
    return msgspec.structs.replace(episode, cited=cited, onset_at=onset, corrected_at=corrected_at)


MOST_KEYS = 24
MOST_ANSWERS = 8


def _signals(keys: tuple[str, ...]) -> frozenset[str]:
    return frozenset(key.partition("@")[0] for key in keys)


def _replaced(episode: Episode, **changes: object) -> Episode:
    if all(getattr(episode, name) == value for name, value in changes.items()):
        return episode
    return msgspec.structs.replace(episode, **changes)


def answer(episode: Episode, event: Acknowledgement, now: int) -> Episode:
    """An alert after a clinician's answer. None resolves it; each silences it for a time."""
    given = (event.at, event.action, event.by)
    if episode.resolved or given in episode.answers:
        return episode
    answers = (*episode.answers, given)[-MOST_ANSWERS:]
    if event.action == "snooze":
        until = min(event.until if event.until is not None else now + SILENCE, now + SILENCE)
        return move(episode, Stimulus.SNOOZED, answered_at=now, silent_until=max(until, now), answers=answers)
    label = event.action if event.action in ("confirm", "dismiss") else episode.label
    return move(
        episode, Stimulus.ACKNOWLEDGED, answered_at=now, silent_until=now + SILENCE, label=label, answers=answers
    )


def published_steps(before: Episode | None, after: Episode | None) -> list[str]:
    """The record states that lead a reader from what was published to what is true now, in order."""
    if after is None or (after.resolved and (before is None or before.resolved)):
        if before is not None and not before.resolved and after is None:
            return ["resolved"]
        return []
    if before is None or before.resolved:
        steps = ["opened"]
    elif after.resolved:
        return ["amended", "resolved"] if after.corrected_at != before.corrected_at else ["resolved"]
    elif after.severity > before.severity or (
        after.raised_at != before.raised_at and after.raised_at is not None and after.severity == before.severity
    ):
        steps = ["raised"]
    elif after.severity < before.severity:
        steps = ["lowered"]
    elif after.reminded_at != before.reminded_at:
        steps = ["reminded"]
    elif _evidence_changed(before, after):
        steps = ["amended"]
    else:
        steps = []
    if after.answered_at is not None and (
        before is None
        or after.answered_at != before.answered_at
        or (after.state != before.state and after.state in (ACKNOWLEDGED, SNOOZED))
    ):
        steps.append("snoozed" if after.state == SNOOZED else "acknowledged")
    return steps


def _evidence_changed(before: Episode, after: Episode) -> bool:
    return (
        before.cited != after.cited
        or before.corrected_at != after.corrected_at
        or (after.onset_at is not None and before.onset_at is not None and after.onset_at < before.onset_at)
    )
