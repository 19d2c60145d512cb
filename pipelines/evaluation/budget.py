"""``evaluate --budget``: thresholds tuned on the background stays of cohorts, and what the product finds with them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import msgspec

from detector.records import AlertRecord
from detector.rules.overlay import Overlay
from pipelines.dataset import Dataset
from pipelines.evaluation.cohort import Cohort, all_truth
from pipelines.evaluation.counting import fired_by_records
from pipelines.evaluation.figures import figures
from pipelines.evaluation.run import Told
from pipelines.evaluation.truth import SEVERITIES, Stays, stays_of
from pipelines.evaluation.tuning import TRIED, Tuned, burden_of, tune
from pipelines.overlay_files import write_overlay
from pipelines.plan_files import catalogue_of, read_catalogue
from pipelines.replay import replay
from pipelines.settings import Settings


class Kept(NamedTuple):
    """The overlay that was found, and its figures over all stays as plain data for JSON and tables."""

    overlay: Overlay
    result: dict[str, Any]


def keep_budget(
    cohorts: Sequence[Cohort], settings: Settings, budget: float, *, workers: int, seed: int, told: Told
) -> Kept:
    """Find the thresholds of a budget on the background stays; measure them on all stays of the same cohorts.

    The sensitivity that comes with it is expected, not held out: measure it on stays of other people.

    Raises:
        ConfigError: the rules of ``settings`` are not those that tuning knows.
    """
    stays = stays_of(all_truth(cohorts))
    people = set(stays.truth["patient_id"].filter(stays.background))
    quiet = [cohort.dataset.of(people) for cohort in cohorts]
    _, rules = read_catalogue(catalogue_of(settings))
    names = ", ".join(cohort.name for cohort in cohorts)
    most = (2 + len(TRIED).bit_length()) * sum(len(dataset) for dataset in quiet)
    with TemporaryDirectory(prefix="itbwatch-") as folder:

        def under(overlay: Overlay, datasets: Sequence[Dataset], what: str, total: int) -> list[AlertRecord]:
            path = Path(folder) / "overlay.yaml"
            write_overlay(path, overlay)
            chosen = settings.model_copy(update={"overlay": str(path)})
            return [
                record for dataset in datasets
                for record in replay(dataset, chosen, workers=workers, progress=lambda n: told(what, n, total)).records
            ]  # fmt: skip

        tuned = tune(
            rules, budget, lambda overlay: burden_of(under(overlay, quiet, "tune", most), stays),
            title=f"{budget:g} warnings per 100 patient-days",
            because=f"evaluate --budget {budget:g} on {names}; {_kind(cohorts)}",
        )  # fmt: skip
        everything = [cohort.dataset for cohort in cohorts]
        records = under(tuned.overlay, everything, "expect", sum(len(dataset) for dataset in everything))
    return _kept(tuned, budget, records, stays, seed)


def _kept(tuned: Tuned, budget: float, records: Sequence[AlertRecord], stays: Stays, seed: int) -> Kept:
    made = figures(
        {tier: fired_by_records(records, stays, tier) for tier in ("watch", "warning", "critical")}, stays, seed=seed
    )
    found = {row["severity"]: row["found"] for row in made["recall"] if row["tier"] == "warning" and row["by"] is None}
    burdens = {row["tier"]: row["per_100_days"].value for row in made["burden"] if row["by"] is None}
    expected = {
        "warnings_per_100_patient_days": round(burdens["warning"], 2),
        "criticals_per_100_patient_days": round(burdens["critical"], 2),
        **{f"found_{name}": round(found[name].value, 3) for name in SEVERITIES if name in found and found[name].value is not None},
    }  # fmt: skip
    result = {
        "budget": budget, "keeps": tuned.keeps, "burden": tuned.burden,
        "tried": [{"warns_from": t, "one_axis_is_watch": softer, "burden": b} for t, softer, b in tuned.tried],
        "changes": [f"{one.subject} {one.key}: {one.was} -> {one.to}" for one in tuned.overlay.changes],
        "recall": made["recall"], "burdens": made["burden"], "look_alikes": made["look_alikes"],
    }  # fmt: skip
    return Kept(msgspec.structs.replace(tuned.overlay, expected=expected), result)


def _kind(cohorts: Sequence[Cohort]) -> str:
    return (
        "synthetic courses in "
        + ("synthetic" if any(one.synthetic_background for one in cohorts) else "real")
        + " stays"
    )
