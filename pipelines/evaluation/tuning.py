"""Site tuning: the lowest score thresholds that keep a budget of warnings on background stays, as an overlay.

One number is looked for: the probability at which S-01 warns. The other thresholds of S-01 keep their distance from it
in logits. Where even the highest does not keep the budget, the rules that rest on one laboratory axis become a watch.
Every try is a replay of the background stays; the courses are replayed once, for the expected sensitivity.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import exp, log
from typing import Any, NamedTuple

from detector.rules.overlay import FORM, ChangeWritten, Overlay, overlaid, settable
from pipelines.evaluation.counting import counted, fired_by_records
from pipelines.evaluation.truth import Stays

RULE = "S-01"
WARNS = "escalate[0].when.all[0].score.at_least"
"""The threshold that is looked for."""

TRIED = (
    0.50,
    0.55,
    0.60,
    0.65,
    0.70,
    0.74,
    0.78,
    0.82,
    0.85,
    0.88,
    0.90,
    0.92,
    0.94,
    0.95,
    0.96,
    0.97,
    0.98,
    0.985,
    0.99,
)
"""[D] Candidates, sensitive ones first: closer where the score is sure."""

ONE_AXIS = ("W-05", "R-11", "R-12")
"""Rules of a single laboratory axis: the first to be a watch where warnings must be few."""

Burden = Callable[[Overlay], float]
"""Warnings per 100 background patient-days under an overlay."""


class Tuned(NamedTuple):
    """What was found. ``keeps`` False = nothing tried keeps the budget, and this comes closest."""

    overlay: Overlay
    burden: float
    keeps: bool
    tried: tuple[tuple[float, bool, float], ...]
    """(threshold, whether rules of one axis were a watch, burden) of each try, in order."""


def tune(rules: Mapping[str, Any], budget: float, burden: Burden, *, title: str, because: str) -> Tuned:
    """Find the most sensitive candidate within ``budget``.

    Args:
        rules: the parsed rule files by name, without any overlay.
        budget: warnings per 100 patient-days.
        burden: measures a candidate.
        title, because: of the overlay.
    """
    tried: list[tuple[float, bool, float]] = []

    def measured(place: int, softer: bool) -> tuple[Overlay, float]:  # noqa: FBT001
        overlay = candidate(rules, TRIED[place], softer=softer, title=title, because=because)
        found = burden(overlay)
        tried.append((TRIED[place], softer, found))
        return overlay, found

    def lowest(within: float, best: tuple[Overlay, float], softer: bool) -> tuple[Overlay, float]:  # noqa: FBT001
        low, high = 0, len(TRIED) - 1
        while low < high:  # more warnings at lower thresholds: bisection
            middle = (low + high) // 2
            overlay, found = measured(middle, softer)
            if found <= within:
                best, high = (overlay, found), middle
            else:
                low = middle + 1
        return best

    strictest = {}
    for softer in (False, True):
        strictest[softer] = measured(len(TRIED) - 1, softer)
        if strictest[softer][1] <= budget:
            return Tuned(*lowest(budget, strictest[softer], softer), True, tuple(tried))
    # nothing keeps it: as few warnings as can be, and not less sensitive than that takes
    softer = strictest[True][1] < strictest[False][1]
    closest = strictest[softer]
    return Tuned(*lowest(closest[1], closest, softer), False, tuple(tried))


def candidate(rules: Mapping[str, Any], warns: float, *, softer: bool, title: str, because: str) -> Overlay:
    """The overlay under which S-01 warns from ``warns`` on, and with ``softer`` rules of one axis are a watch."""
    shipped = {key: float(value) for key, value in settable(rules[f"{RULE}.yaml"]).items() if key.endswith("at_least")}
    shift = _logit(warns) - _logit(shipped[WARNS])
    changes = []
    for key, value in shipped.items():
        moved = warns if key == WARNS else round(_chance(_logit(value) + shift), 3)
        if key == "when.score.at_least":
            moved = min(value, moved)  # a watch costs nobody a call: it stays as early as it is
        if moved != value:
            changes.append(ChangeWritten(key=key, was=value, to=moved, because="keeps the budget", rule=RULE))
    for rule in ONE_AXIS if softer else ():
        severity = rules[f"{rule}.yaml"]["severity"]
        if severity == "warning":
            changes.append(ChangeWritten(key="severity", was=severity, to="watch", because="one laboratory axis alone", rule=rule))  # fmt: skip
    overlay = Overlay(overlay=FORM, title=title, because=because, changes=tuple(changes), expected={})
    overlaid(rules, overlay)  # a key that is not there is named here, not after an hour of replays
    return overlay


def burden_of(records: Sequence[Any], stays: Stays) -> float:
    """Counted warnings per 100 background patient-days."""
    warnings = counted(fired_by_records(records, stays)).of(stays.background)
    return 100 * len(warnings) / float(stays.days[stays.background].sum())


def _logit(chance: float) -> float:
    return log(chance / (1 - chance))


def _chance(logit: float) -> float:
    return 1 / (1 + exp(-logit))
