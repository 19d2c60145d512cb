"""Questions about a model's score. They are asked in pass 2, after every row of the batch was scored in one call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from detector.clock import HOUR, NEVER
from detector.rules.truth import FALSE, TRUE, Cite, Found, blank
from detector.scoring import Score

if TYPE_CHECKING:
    from detector.rules.book import Asked
    from detector.rules.view import View

SCORE = "score"
"""The signal under which a score is cited, and what a rule lacks that has none."""

STANDS = 2 * HOUR
"""A score that was not renewed for so long is not known any more (the staleness of vitals, clinical-evidence.md 5.1)."""

NONE = Score(None)


class Scored:
    """The newest score of a model is at least ``at_least``; UNKNOWN while there is none or it is indeterminate."""

    needs = frozenset({SCORE})

    def __init__(self, name: str, at_least: float) -> None:
        self.name, self.at_least = name, at_least

    def ask(self, view: View) -> Found:
        at, score = view.scores.get(self.name, (view.now, NONE))  # type: ignore[attr-defined]
        if score.value is None or at + STANDS <= view.now:
            return blank(SCORE)
        if score.value < self.at_least:
            return Found(FALSE, at + STANDS)
        why = ", ".join(f"{name} {amount:+.2f}" for name, amount in score.because)
        line = Cite(SCORE, score.value, None, at, at, f"{self.name}: {why}" if why else self.name)
        return Found(TRUE, at + STANDS, (line,))


class LateView:
    """What a question of pass 2 may look at: earlier answers and the scores, never a window."""

    __slots__ = ("found", "now", "scores")

    def __init__(self, found: dict[str, Found], scores: Mapping[str, tuple[int, Score]], now: int) -> None:
        self.found, self.scores, self.now = found, scores, now


def ask_late(
    late: Sequence[Asked], found: dict[str, Found], scores: Mapping[str, tuple[int, Score]], now: int
) -> tuple[int, ...]:
    """Put the answers of the questions of pass 2 beside those of pass 1, in the order in which they name each other.

    Returns their truths.
    """
    view = LateView(found, scores, now)
    for asked in late:
        found[asked.id] = asked.term.ask(view)
    return tuple(found[asked.id].truth for asked in late)


def of_stay(scores: Mapping[str, tuple[int, Score]], opened_at: int) -> dict[str, tuple[int, Score]]:
    """The scores that speak of the stay that opened at an instant."""
    return {name: known for name, known in scores.items() if known[0] >= opened_at}


def stands_until(scores: Mapping[str, tuple[int, Score]], after: int) -> int:
    """The first instant after ``after`` at which another score is not known any more."""
    return min((at + STANDS for at, _ in scores.values() if at + STANDS > after), default=NEVER)
