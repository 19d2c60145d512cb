"""Fitting the bag of trees, its calibration and the joint anomaly. Seeds fix everything."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from models.joint import JointAnomaly
from models.trees import trees_of
from models.withdrawal import Fitted, Member, WithdrawalScore

Told = Callable[[str], object]

TREES: dict[str, Any] = {
    "max_iter": 60, "learning_rate": 0.1, "max_leaf_nodes": 16, "min_samples_leaf": 80, "l2_regularization": 3.0,
    "max_features": 0.5, "early_stopping": False,
}  # fmt: skip
"""[D] Small trees, few of them: held-out stays gained nothing from more."""

WITHOUT_TONE = 0.5
"""[D] Share of stays whose tone is hidden from a member: on many wards nobody charts it."""

WITHOUT_LABS = 0.2
"""[D] Share of stays whose laboratory values are hidden: what was ordered must not be what is learned."""

POSITIVES = 0.3
"""[D] Weight of all positive rows together, as a share of that of all others."""


class Lesson(NamedTuple):
    """One member of the bag: columns that start with one of ``without`` are left out, and one generator of courses."""

    without: tuple[str, ...] = ()
    without_generator: str | None = None


LABS = ("ck_", "plt_", "creat_", "ast_", "alt_", "inr_", "wbc_", "lactate_", "k_", "hco3_", "bili_", "procalcitonin_")
BAG = (
    Lesson(),
    Lesson(("personal_",), "balance"),
    Lesson(("wbc_", "lactate_", "k_", "hco3_", "bili_", "procalcitonin_", "inr_"), "logistic"),
    Lesson((), "episodic"),
    Lesson(("mas_", "spasticity_", "pruritus_", "dysaesthesia_", "hallucination_")),
    Lesson(("mas_", "spasticity_", "pruritus_", "dysaesthesia_", "hallucination_", "sbp_", "map_"), "balance"),
)
"""[D] Different views, so that no single shape of a simulated course is learned by heart."""


def fit(
    examples: pl.DataFrame, calibration: pl.DataFrame, columns: Sequence[str], written: Mapping[str, Any], *,
    seed: int = 0, told: Told = lambda _: None,
) -> tuple[WithdrawalScore, JointAnomaly]:  # fmt: skip
    """Fit on labelled rows; calibrate on those of other people."""
    columns = tuple(columns)
    rng = np.random.default_rng(seed)
    background = examples.filter((pl.col("kind") == "background") & (pl.col("label") == 0))
    panel = written["joint"]
    joint = JointAnomaly.fit(tuple(panel), tuple(panel.values()), as_matrix(background, tuple(panel)))
    members = []
    for number, lesson in enumerate(BAG):
        chosen = examples
        if lesson.without_generator is not None:
            chosen = examples.filter(pl.col("generator").fill_null("") != lesson.without_generator)
        values = hidden(chosen, columns, written["tone"], rng)
        mine = tuple(
            k for k, name in enumerate(columns)
            if not name.startswith(lesson.without or "\0") and _says_something(values[:, k])
        )  # fmt: skip
        classifier = HistGradientBoostingClassifier(
            **TREES,
            monotonic_cst=[_direction(columns[k], written["monotone"]) for k in mine],
            random_state=seed + number,
        )
        label = chosen["label"].to_numpy()
        weight = np.where(label == 1, POSITIVES * (label == 0).sum() / max((label == 1).sum(), 1), 1.0)
        with threadpool_limits(limits=1):  # threads that wait for each other cost more than they save on a busy machine
            classifier.fit(values[:, list(mine)], label, sample_weight=weight)
        members.append(Member(mine, trees_of(classifier)))
        told(f"member {number + 1} of {len(BAG)}")
    uncalibrated = WithdrawalScore(Fitted(columns, tuple(members), 1.0, 0.0, (), _reach(examples, columns, written)))
    logits = uncalibrated.logits(hidden(calibration, columns, written["tone"], rng))
    label = calibration["label"].to_numpy()
    weight = np.where(label == 1, POSITIVES * (label == 0).sum() / max((label == 1).sum(), 1), 1.0)
    platt = LogisticRegression(C=1e6).fit(logits[:, None], label, sample_weight=weight)
    needed = tuple(tuple(columns.index(name) for name in group) for group in written["needed"])
    fitted = uncalibrated.fitted._replace(
        slope=round(float(platt.coef_[0, 0]), 9), intercept=round(float(platt.intercept_[0]), 9), needed=needed
    )
    return WithdrawalScore(fitted), joint


def hidden(
    examples: pl.DataFrame,
    columns: Sequence[str],
    tone: Sequence[str],
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """The rows as a matrix; of some stays the tone, of some the laboratory values are hidden."""
    values = as_matrix(examples, columns)
    stays, place = np.unique(examples["stay_id"].to_numpy(), return_inverse=True)
    for share, matches in (
        (WITHOUT_TONE, [k for k, name in enumerate(columns) if name in tone]),
        (WITHOUT_LABS, [k for k, name in enumerate(columns) if name.startswith(LABS)]),
    ):
        chosen = (rng.random(len(stays)) < share)[place]
        for k in matches:
            values[chosen, k] = 0.0 if "_said_" in columns[k] else np.nan
    return values


def as_matrix(examples: pl.DataFrame, columns: Sequence[str]) -> NDArray[np.float64]:
    """The rows as (rows, columns), NaN = not known."""
    return examples.select(columns).fill_null(float("nan")).to_numpy().astype(np.float64).copy()


def _says_something(column: NDArray[np.float64]) -> bool:
    """Whether anything is known in a column; one that a data set never measures cannot be cut into bins."""
    return not bool(np.isnan(column).all())


def _direction(name: str, monotone: Mapping[str, Sequence[str]]) -> int:
    return 1 if name in monotone["rising"] else -1 if name in monotone["falling"] else 0


def _reach(
    examples: pl.DataFrame, columns: Sequence[str], written: Mapping[str, Any]
) -> tuple[tuple[float, float], ...]:
    """How far a value may lie from what was fitted on: half of the fitted range more on either side. A column with a
    direction has no end on it: a still higher temperature or CK is more of the same.
    """
    reach = []
    for name in columns:
        low, high = examples[name].min(), examples[name].max()
        if low is None or high is None or "_said_" in name or name.startswith("personal_"):
            reach.append((-np.inf, np.inf))
            continue
        margin = 0.5 * (float(high) - float(low))  # type: ignore[arg-type]
        rising = _direction(name, written["monotone"]) == 1 or "fold" in name or name.startswith(LABS)
        reach.append((float(low) - margin, np.inf if rising else float(high) + margin))  # type: ignore[arg-type]
    return tuple(reach)
