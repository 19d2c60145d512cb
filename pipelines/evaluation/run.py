"""One evaluation: replay the product on cohorts, score the peers on the same stays, and make the figures."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
import polars as pl

from detector.catalogue.signals import Catalogue
from detector.records import AlertRecord
from pipelines.evaluation.ablation import ablation
from pipelines.evaluation.cohort import Cohort, all_truth, check_observed
from pipelines.evaluation.counting import (
    REFIRES_AFTER,
    SAME_TIME,
    TIERS,
    Hits,
    counted,
    fired_by_records,
    hits,
    standing_by_records,
    with_higher_tiers,
)
from pipelines.evaluation.curve import BUDGETS, AtBudget, at_budgets, curve, transfer
from pipelines.evaluation.figures import burden, burden_groups, course_groups, figures, recall
from pipelines.evaluation.peers import all_peers, scores_of
from pipelines.evaluation.peers.boosting import OrdersAlone
from pipelines.evaluation.picture import pictures, readings
from pipelines.evaluation.truth import AFTER_RESTORED, BEFORE_VISIBLE, NO_TIME, SEVERITIES, Stays, stays_of
from pipelines.plan_files import load_plan
from pipelines.replay import replay
from pipelines.settings import Settings

REPEATED = "warning, repeated every 12 h while it stands"
Told = Callable[[str, int, int], object]
"""(what is done, how much of it since the last call, how much in all)."""


@dataclass
class Evaluation:
    """What an evaluation gives: ``result`` as plain data for JSON and tables, and what the report draws from."""

    result: dict[str, Any]
    stays: Stays
    records: list[AlertRecord]
    readings: pl.DataFrame
    found: Hits
    catalogue: Catalogue


def evaluate(
    cohorts: Sequence[Cohort], settings: Settings, *, budgets: Sequence[float] = BUDGETS, peers: bool = True,
    without_models: bool = False, workers: int = 1, seed: int = 0, told: Told = lambda *_: None,
) -> Evaluation:  # fmt: skip
    """Evaluate the product, and with ``peers`` everything it has to beat, on the stays of ``cohorts``.

    ``without_models`` runs the rules alone as well, to show what the models change.

    Raises:
        InputRefused: the cohorts do not fit together.
        ConfigError: the plan of ``settings`` cannot be built.
    """
    check_observed(cohorts)
    stays = stays_of(all_truth(cohorts))
    plan = load_plan(settings)
    started = time.perf_counter()
    events = sum(len(cohort.dataset) for cohort in cohorts)

    def run(what: str, chosen: Settings) -> list[AlertRecord]:
        return [
            record for cohort in cohorts
            for record in replay(cohort.dataset, chosen, workers=workers, progress=lambda n: told(what, n, events)).records
        ]  # fmt: skip

    records = run("replay", settings)
    rules_only = settings.model_copy(update={"models": settings.models.model_copy(update={"enabled": False})})
    known = pl.concat(readings(cohort.dataset, plan.catalogue) for cohort in cohorts)
    result: dict[str, Any] = {
        "run": {
            "cohorts": [cohort.name for cohort in cohorts],
            "synthetic_background": any(cohort.synthetic_background for cohort in cohorts),
            "stays": len(stays), "people": int(stays.person.max()) + 1, "seed": seed,
            "background_stays": int(stays.background.sum()), "courses": int(stays.course.sum()),
            "look_alikes": int(stays.look_alike.sum()),
            "background_days": float(stays.days[stays.background].sum()),
            "data_sets": stays.truth["data_set"].drop_nulls().unique().sort().to_list(),
            "generators": stays.truth["generator"].drop_nulls().unique().sort().to_list(),
            "plan_digest": plan.digest, "rules_version": plan.rules_version,
            "versions": {"itbwatch": version("itbwatch"), "python": platform.python_version()},
        },
        "counting": {
            "refires_after_hours": REFIRES_AFTER / 3_600_000, "twin_within_hours": SAME_TIME / 3_600_000,
            "before_visible_hours": BEFORE_VISIBLE / 3_600_000, "after_restored_hours": AFTER_RESTORED / 3_600_000,
        },
        "budgets": list(budgets),
        "product": product_figures(records, stays, seed=seed),
        "peers": {},
    }  # fmt: skip
    if without_models:
        configurations = {"rules": run("rules", rules_only), "rules and models": records}
        result["ablation"] = ablation(configurations, stays, seed=seed)
    by_tier = {tier: hits(counted(fired_by_records(records, stays, tier)), stays) for tier in TIERS}
    found = with_higher_tiers(by_tier)["warning"]
    if peers:
        rows = pictures(known, plan.catalogue)
        every = all_peers()
        scores = scores_of(every, rows, stays, seed=seed, progress=lambda _: told("peers", 1, len(every)))
        own = _own_burden(result["product"])
        for name, frame in scores.items():
            result["peers"][name] = peer_figures(frame, stays, [*budgets, own], seed=seed)
            told("curves", 1, len(scores))
        result["against_peers"] = against_peers(result["product"], result["peers"], own)
    result["run"]["seconds"] = round(time.perf_counter() - started, 1)
    return Evaluation(result, stays, records, known, found, plan.catalogue)


def product_figures(records: Sequence[AlertRecord], stays: Stays, *, seed: int) -> dict[str, Any]:
    """The figures of alert records at every tier; ``REPEATED`` counts standing warnings as scores are counted."""
    tiers = {tier: fired_by_records(records, stays, tier) for tier in TIERS}
    return figures({**tiers, REPEATED: standing_by_records(records, stays)}, stays, seed=seed)


def peer_figures(scores: pl.DataFrame, stays: Stays, budgets: Sequence[float], *, seed: int) -> dict[str, Any]:
    """The curve of a score, its figures at the lowest threshold that keeps each budget, and whether thresholds transfer."""
    return {
        "curve": [point._asdict() for point in curve(scores, stays)],
        "at_budgets": [_at_budget(one, stays, seed=seed) for one in at_budgets(scores, stays, budgets)],
        "transfer": [one._asdict() for one in transfer(scores, stays, budgets, seed=seed)],
    }


def against_peers(product: Mapping[str, Any], peers: Mapping[str, Any], own: float) -> list[dict[str, Any]]:
    """Each peer at the product's own burden, by severity: whether the product is ``beats`` (intervals apart),
    ``ahead`` (they overlap), ``level`` or ``behind``.
    """
    ours = {
        row["severity"]: row["found"] for row in product["recall"] if row["tier"] == "warning" and row["by"] is None
    }
    rows = []
    for name, peer in peers.items():
        if name == OrdersAlone.name:
            continue
        reached = next(one for one in peer["at_budgets"] if one["budget"] == own)
        theirs = {row["severity"]: row["found"] for row in reached["recall"] if row["by"] is None}
        for severity in SEVERITIES:
            if severity in ours:
                other = theirs.get(severity)
                rows.append({"peer": name, "severity": severity, "burden": own, "product": ours[severity], "theirs": other,
                             "verdict": _verdict(ours[severity], other)})  # fmt: skip
    return rows


def stays_table(evaluation: Evaluation, labels: Mapping[int, str]) -> pl.DataFrame:
    """One row a stay: its truth, its counted warnings, and the label it has in the report (null = not shown there)."""
    stays, found = evaluation.stays, evaluation.found
    warnings = counted(fired_by_records(evaluation.records, stays))
    first = [None if at == NO_TIME else at for at in found.net.tolist()]
    return stays.truth.with_columns(
        pl.Series("warnings", np.bincount(warnings.stay, minlength=len(stays))),
        pl.Series("found_at", first, dtype=pl.Int64),
        pl.Series("chance", stays.course & (found.first != NO_TIME) & (found.net == NO_TIME)),
        pl.Series("label", [labels.get(row) for row in range(len(stays))], dtype=pl.String),
    )


def _own_burden(product: Mapping[str, Any]) -> float:
    return next(
        row["per_100_days"].value or 0.0 for row in product["burden"] if row["tier"] == "warning" and row["by"] is None
    )


def _at_budget(one: AtBudget, stays: Stays, *, seed: int) -> dict[str, Any]:
    if one.point is None or one.found is None or one.warnings is None:
        return {"budget": one.budget, "threshold": None, "recall": [], "burden": []}
    return {
        "budget": one.budget,
        "threshold": one.point.threshold,
        "recall": [{**about, **recall(one.found, stays, mask, seed=seed)} for about, mask in course_groups(stays)],
        "burden": [{**about, **burden(one.warnings, stays, mask, seed=seed)} for about, mask in burden_groups(stays)],
    }


def _verdict(ours: Any, theirs: Any) -> str:
    if theirs is None or ours.low > theirs.high:
        return "beats"
    if ours.value == theirs.value:
        return "level"
    return "ahead" if ours.value > theirs.value else "behind"
