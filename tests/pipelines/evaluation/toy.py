"""Toy truths and records, times in hours from the first reading of every stay."""

from __future__ import annotations

from typing import Any

import polars as pl

from detector.clock import HOUR, rfc3339
from detector.records import AlertRecord, Gate, Provenance
from pipelines.evaluation.truth import TRUTH, Stays, stays_of

ORIGIN = 2_000_000_000_000


def at(hours: float) -> int:
    return ORIGIN + round(hours * HOUR)


def stay(stay_id: str, *, hours: float = 96, **about: Any) -> dict[str, Any]:
    """A background stay, unless ``about`` says otherwise; its times in hours."""
    row: dict[str, Any] = dict.fromkeys(TRUTH)
    row |= {
        "stay_id": stay_id,
        "patient_id": f"p-{stay_id}",
        "kind": "background",
        "data_set": "toy",
        "first_at": 0,
        "last_at": hours,
    }
    row |= about
    return {name: at(value) if name.endswith("_at") and value is not None else value for name, value in row.items()}


def course(
    stay_id: str, twin_of: str | None = None, *, visible: float = 48, severity: str = "moderate", **about: Any
) -> dict[str, Any]:
    return stay(stay_id, kind="withdrawal", severity=severity, twin_of=twin_of, first_visible_at=visible, **about)


def truth_of(*rows: dict[str, Any]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=TRUTH)


def stays_from(*rows: dict[str, Any]) -> Stays:
    return stays_of(truth_of(*rows))


def record(stay_id: str, hours: float, severity: str = "warning", state: str = "opened", **about: Any) -> AlertRecord:
    given: dict[str, Any] = {
        "alert_id": f"alert-{stay_id}", "sequence": round(hours * 60) + 1, "patient_id": f"p-{stay_id}", "stay_id": stay_id,
        "syndrome": "itb_withdrawal", "severity": severity, "state": state, "previous_severity": None, "reason": "",
        "at": rfc3339(at(hours)), "onset_at": None, "headline": "", "evidence": (), "missing": (), "against": (),
        "differentials": (), "checks": (), "score": None, "gate": Gate("present", "none"),
        "provenance": Provenance("", "", {}, ()),
    }  # fmt: skip
    return AlertRecord(**given | about)


def scores_from(**by_stay: dict[float, float | None]) -> pl.DataFrame:
    """``stay_id={hours: score}`` as a frame of scores."""
    rows = [(stay_id, at(hours), score) for stay_id, scores in by_stay.items() for hours, score in scores.items()]
    return pl.DataFrame(rows, schema={"stay_id": pl.String, "at": pl.Int64, "score": pl.Float64}, orient="row")
