"""The figures of one detector, each with its interval: recall, delay, lead, burden, PPV and workload.

A detector is its counted warnings at one or several tiers. Recall, delay and lead are net of twins. Burden is counted
on background stays; look-alikes have their own. PPV and workload depend on how common withdrawal is, so they are given
for the cohort as made and for a stated share of stays.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from detector.clock import HOUR
from pipelines.evaluation.counting import Fired, Hits, counted, hits, with_higher_tiers
from pipelines.evaluation.intervals import median, rate, wilson
from pipelines.evaluation.truth import NO_TIME, SEVERITIES, Floats, Ints, Mask, Stays

PREVALENCE = 0.02
"""Share of stays of pump patients with a withdrawal: clinical-evidence.md section 6, design choice there."""


def figures(tiers: Mapping[str, Fired], stays: Stays, *, seed: int) -> dict[str, Any]:
    """Everything of one detector as plain data: ``recall``, ``burden``, ``look_alikes`` as lists of rows, ``value``.

    ``tiers``: name of the tier -> what fired (not yet counted).
    """
    made: dict[str, Any] = {"recall": [], "burden": [], "look_alikes": [], "value": []}
    all_warnings = {tier: counted(fired) for tier, fired in tiers.items()}
    all_found = with_higher_tiers({tier: hits(warnings, stays) for tier, warnings in all_warnings.items()})
    for tier, warnings in all_warnings.items():
        found = all_found[tier]
        for about, mask in course_groups(stays):
            made["recall"].append({"tier": tier, **about, **recall(found, stays, mask, seed=seed)})
        for about, mask in burden_groups(stays):
            made["burden"].append({"tier": tier, **about, **burden(warnings, stays, mask, seed=seed)})
        for kind in sorted(set(stays.truth["kind"].to_numpy()[stays.look_alike])):
            mask = stays.look_alike & stays.where(kind=kind)
            made["look_alikes"].append({"tier": tier, "kind": kind, **burden(warnings, stays, mask, seed=seed)})
        made["value"].append({"tier": tier, **value(warnings, found, stays)})
    return made


def course_groups(stays: Stays) -> Iterator[tuple[dict[str, Any], Mask]]:
    """The groups of courses that recall is given for: by severity, and each severity by tone, data set, generator, kind."""
    for severity in SEVERITIES:
        whole = stays.where(severity=severity)
        if not whole.any():
            continue
        yield {"severity": severity, "by": None, "group": None}, whole
        for column in ("with_tone", "data_set", "generator", "kind"):
            groups = stays.truth[column].filter(whole).unique().sort().to_list()
            if len(groups) > 1:
                for group in groups:
                    yield {"severity": severity, "by": column, "group": group}, whole & stays.where(**{column: group})


def burden_groups(stays: Stays) -> Iterator[tuple[dict[str, Any], Mask]]:
    """The background stays, all and by data set."""
    yield {"by": None, "group": None}, stays.background
    groups = stays.truth["data_set"].filter(stays.background).unique().sort().to_list()
    if len(groups) > 1:
        for group in groups:
            yield {"by": "data_set", "group": group}, stays.background & stays.where(data_set=group)


def recall(found: Hits, stays: Stays, mask: Mask, *, seed: int) -> dict[str, Any]:
    """What was found of the courses that ``mask`` names, and how soon (hours)."""
    courses = int(mask.sum())
    hit = mask & (found.net != NO_TIME)
    failing = mask & (stays.organ_failure != NO_TIME)
    before = failing & hit & (found.net <= stays.organ_failure)
    both = failing & hit
    return {
        "courses": courses,
        "found": wilson(int(hit.sum()), courses),
        "found_gross": wilson(int((mask & (found.first != NO_TIME)).sum()), courses),
        "twin_alone": wilson(int((mask & found.chance).sum()), courses),
        "delay_hours": median(_hours(found.net - stays.visible, hit), stays.person[hit], seed=seed),
        "delays_hours": np.sort(_hours(found.net - stays.visible, hit)).round(2).tolist(),
        "lead_hours": median(_hours(stays.organ_failure - found.net, both), stays.person[both], seed=seed),
        "before_organ_failure": wilson(int(before.sum()), int(failing.sum())),
    }


def burden(warnings: Fired, stays: Stays, mask: Mask, *, seed: int) -> dict[str, Any]:
    """What ``warnings`` (counted ones) cost on the stays that ``mask`` names, per 100 patient-days."""
    per_stay = np.bincount(warnings.stay, minlength=len(stays))[mask]
    alerted = per_stay > 0
    days, person = stays.days[mask], stays.person[mask]
    worst = np.sort(per_stay)[::-1]
    tenth = max(1, len(worst) // 10)
    return {
        "stays": int(mask.sum()),
        "per_100_days": rate(per_stay, days, person, seed=seed),
        "first_per_100_days": rate(alerted.astype(np.int64), days, person, seed=seed),
        "ever": wilson(int(alerted.sum()), int(mask.sum())),
        "share_of_worst_tenth": float(worst[:tenth].sum() / worst.sum()) if worst.sum() else None,
    }


def value(warnings: Fired, found: Hits, stays: Stays) -> dict[str, Any]:
    """PPV by stay and warnings per course found, in the cohort as made and where withdrawal has ``PREVALENCE``."""
    per_stay = np.bincount(warnings.stay, minlength=len(stays))
    hit = stays.course & (found.net != NO_TIME)
    alerted = per_stay > 0
    share = float(hit.sum() / stays.course.sum()) if stays.course.any() else 0.0
    false = float(alerted[stays.background].mean()) if stays.background.any() else 0.0
    of_course = float(per_stay[stays.course].mean()) if stays.course.any() else 0.0
    of_background = float(per_stay[stays.background].mean()) if stays.background.any() else 0.0
    all_alerted = PREVALENCE * share + (1 - PREVALENCE) * false
    return {
        "ppv": wilson(int(hit.sum()), int(alerted.sum())),
        "warnings_per_course_found": float(per_stay.sum() / hit.sum()) if hit.any() else None,
        "prevalence": PREVALENCE,
        "ppv_at_prevalence": PREVALENCE * share / all_alerted if all_alerted else None,
        "warnings_per_course_found_at_prevalence": (
            (PREVALENCE * of_course + (1 - PREVALENCE) * of_background) / (PREVALENCE * share) if share else None
        ),
    }


def _hours(spans: Ints, mask: Mask) -> Floats:
    return np.asarray(spans[mask] / HOUR, dtype=np.float64)
