"""Whether each part earns its place: named configurations of the product on the same stays, one beside the next."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from scipy.stats import binomtest

from detector.records import AlertRecord
from pipelines.evaluation.counting import TIERS, counted, fired_by_records, hits, with_higher_tiers
from pipelines.evaluation.figures import burden, recall
from pipelines.evaluation.truth import NO_TIME, SEVERITIES, Stays


def ablation(
    configurations: Mapping[str, Iterable[AlertRecord]], stays: Stays, *, seed: int, tier: str = "warning"
) -> list[dict[str, Any]]:
    """A row for each configuration in order (rules, + personal, + joint, + score): its burden, what it finds by
    severity, and the courses won and lost against the configuration before it, with the exact McNemar p-value
    (McNemar, Psychometrika 1947;12:153-157); None for the first.
    """
    rows: list[dict[str, Any]] = []
    before = None
    for configuration, records in configurations.items():
        kept = list(records)
        fired = {name: counted(fired_by_records(kept, stays, name)) for name in TIERS}
        warnings = fired[tier]
        found = with_higher_tiers({name: hits(one, stays) for name, one in fired.items()})[tier]
        by_severity = {
            severity: recall(found, stays, mask, seed=seed)
            for severity in SEVERITIES
            if (mask := stays.where(severity=severity)).any()
        }
        row: dict[str, Any] = {
            "configuration": configuration,
            "burden": burden(warnings, stays, stays.background, seed=seed),
            "recall": by_severity,
            "won": None, "lost": None, "p": None,
        }  # fmt: skip
        now = found.net != NO_TIME
        if before is not None:
            won, lost = int(np.sum(stays.course & now & ~before)), int(np.sum(stays.course & before & ~now))
            row |= {"won": won, "lost": lost, "p": mcnemar(won, lost)}
        rows.append(row)
        before = now
    return rows


def mcnemar(won: int, lost: int) -> float:
    """The exact p-value of so many pairs that only one of two found."""
    return float(binomtest(won, won + lost).pvalue) if won + lost else 1.0
