"""What a fit finds on the people of the calibration, and what it finds without a part: simulated courses, so for comparing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from sklearn.metrics import roc_auc_score

from models.joint import JointAnomaly
from models.withdrawal import WithdrawalScore
from pipelines.evaluation.curve import BUDGETS, at_budgets, sensitivities
from pipelines.evaluation.truth import Stays
from pipelines.training.fit import as_matrix, fit

JOINT = "joint"
"""The column that the ablation adds: how unusual the panel of the row is (models/joint.py)."""

PERSONAL = "personal_"


def area(withdrawal: WithdrawalScore, calibration: pl.DataFrame) -> float:
    """Area under the receiver operating characteristic, row by row."""
    scores = withdrawal.probabilities(as_matrix(calibration, withdrawal.columns))
    return round(float(roc_auc_score(calibration["label"].to_numpy(), scores)), 6)


def at_each_budget(withdrawal: WithdrawalScore, calibration: pl.DataFrame, people: Stays) -> list[dict[str, Any]]:
    """Sensitivity by severity of the score alone at each budget of warnings per 100 patient-days, with its threshold;
    None = no threshold keeps the budget. Rows without a score count as quiet.
    """
    values = as_matrix(calibration, withdrawal.columns)
    said = np.array([reason is None for reason in withdrawal.reasons(values)], dtype=bool)
    scores = np.where(said, withdrawal.probabilities(values), np.nan)
    scored = calibration.select("stay_id", "at").with_columns(score=pl.Series(scores))
    return [
        {
            "per_100_patient_days": one.budget,
            "threshold": None if one.point is None else round(one.point.threshold, 6),
            "sensitivity": {} if one.found is None else {k: round(v, 4) for k, v in sensitivities(one.found, people).items()},
        }
        for one in at_budgets(scored, people, BUDGETS)
    ]  # fmt: skip


def without_tone(calibration: pl.DataFrame, tone: Sequence[str]) -> pl.DataFrame:
    """The same rows as a ward would have them that charts no tone."""
    unknown = {name: pl.lit(0.0 if "_said_" in name else None, pl.Float64).alias(name) for name in tone}
    return calibration.with_columns(*unknown.values())


def ablation(
    examples: pl.DataFrame, calibration: pl.DataFrame, whole: tuple[WithdrawalScore, JointAnomaly], people: Stays,
    written: Mapping[str, Any], *, seed: int, told: Callable[[str], object] = lambda _: None,
) -> list[dict[str, Any]]:  # fmt: skip
    """The score as it is, fitted again without the personal baseline, and again with the joint anomaly as one column more;
    each ``charted`` and ``not_charted``: with tone, and with its columns hidden.
    """
    withdrawal, joint = whole
    names = withdrawal.columns
    examples, calibration = with_joint(examples, joint), with_joint(calibration, joint)
    hidden = without_tone(calibration, written["tone"])
    rows = []
    for configuration, columns in {
        "score": names,
        "without personal": tuple(name for name in names if not name.startswith(PERSONAL)),
        "with joint": (*names, JOINT),
    }.items():
        fitted = (
            withdrawal if columns == names else fit(examples, calibration, columns, written, seed=seed, told=told)[0]
        )
        rows.append({
            "configuration": configuration,
            "charted": at_each_budget(fitted, calibration, people),
            "not_charted": at_each_budget(fitted, hidden, people),
        })  # fmt: skip
    return rows


def with_joint(rows: pl.DataFrame, joint: JointAnomaly) -> pl.DataFrame:
    """The rows and the column ``JOINT``; null = too little is known."""
    return rows.with_columns(pl.Series(JOINT, joint.deviates(as_matrix(rows, joint.columns))).fill_nan(None))
