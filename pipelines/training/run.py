"""A training run: cohorts of every data set, rows by the engine, the fit, and the artefact with where it came from."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import polars as pl
from msgspec import structs

import models
from detector.features import columns
from detector.plan import Plan
from models.artefact import save
from models.columns import column_names
from models.personal import PersonalBaseline
from pipelines.datasets import canonical
from pipelines.evaluation.truth import TRUTH, stays_of
from pipelines.model_files import columns_of
from pipelines.plan_files import load_plan
from pipelines.settings import Settings
from pipelines.simulate import backgrounds as simulated
from pipelines.simulate.cohort import build
from pipelines.training import fit as fitting
from pipelines.training.families import FAMILIES, families
from pipelines.training.fit import as_matrix, fit
from pipelines.training.labels import labelled
from pipelines.training.metrics import ablation, area, at_each_budget
from pipelines.training.rows import row_table
from pipelines.yaml_files import read_yaml

Told = Callable[[str, int, int], object]
"""(what is done, how much of it, how much in all)."""


class TrainingSet(NamedTuple):
    """Stays in which courses are injected, and a digest of where they came from."""

    name: str
    stays: list[simulated.Background]
    digest: str
    synthetic: bool


def training_sets(pairs: Sequence[tuple[Path, Path]], *, beds: int, seed: int) -> list[TrainingSet]:
    """The stays of canonical tables (observations, stays); synthetic ones where there is no table.

    Raises:
        ConfigError: a file is not there.
        InputRefused: a file is no such table.
    """
    if not pairs:
        made = list(simulated.synthetic_backgrounds(beds, seed))
        return [TrainingSet("synthetic", made, f"synthetic {beds} stays, seed {seed}", synthetic=True)]
    found = []
    for observations, stays in pairs:
        dataset = canonical.read([observations], stays, None)
        digest = hashlib.sha256(observations.read_bytes() + stays.read_bytes()).hexdigest()
        found.append(TrainingSet(observations.stem.split(".")[0], list(simulated.backgrounds(dataset)), digest, False))
    return found


def train(
    sets: Sequence[TrainingSet], settings: Settings, out: Path, *, courses: int, seed: int,
    with_ablation: bool = False, with_families: bool = False, told: Told = lambda *_: None,
) -> dict[str, Any]:  # fmt: skip
    """Fit on the training part of each data set, calibrate on the tuning part, and write the artefact. ``with_ablation``:
    its metrics say what each part of the score is worth, for two more fits; ``with_families``: what it makes of courses it
    was not fitted on, for one more fit a family.

    Raises:
        InputError: no stay of a part can carry a course.
    """
    with as_file(files(models) / "features.yaml") as path:
        written: Mapping[str, Any] = read_yaml(path)
    plan = load_plan(settings, scored=False)
    features = columns_of(plan.catalogue)
    plan = structs.replace(plan, features=features, columns=columns(features), learner=PersonalBaseline())
    names = column_names(features)
    parts = {part: _examples(sets, plan, names, part, courses, seed, told) for part in ("train", "tune")}
    examples, truth = parts["train"]
    calibration, people = parts["tune"]
    done = 0

    def member(_: str) -> None:
        nonlocal done
        done += 1
        fits = 1 + 2 * with_ablation + len(FAMILIES) * with_families
        told("fit", done, fits * len(fitting.BAG))

    withdrawal, joint = fit(examples, calibration, names, written, seed=seed, told=member)
    stays = stays_of(people.select(pl.col(name).cast(kind) for name, kind in TRUTH.items()))
    metrics: dict[str, Any] = {
        "auc": area(withdrawal, calibration),
        "score_alone_at_budgets": at_each_budget(withdrawal, calibration, stays),
        "measured_on": "the people of the calibration; simulated courses",
    }
    if with_ablation:
        both = (withdrawal, joint)
        metrics["ablation"] = ablation(examples, calibration, both, stays, written, seed=seed, told=member)
    if with_families:
        metrics["families"] = families(
            examples, calibration, withdrawal, stays, written, seed=seed, chosen=FAMILIES, told=member
        )
    about = {
        "data": {one.name: one.digest for one in sets},
        "synthetic_backgrounds": any(one.synthetic for one in sets),
        "rows_digest": _digest(examples, names),
        "parameters": {
            "courses": courses, "seed": seed, "examples": len(examples), "stays": len(truth), "trees": fitting.TREES,
            "bag": [list(msgspec.to_builtins(one)) for one in fitting.BAG],
            "without_tone": fitting.WITHOUT_TONE, "without_labs": fitting.WITHOUT_LABS, "positives": fitting.POSITIVES,
        },
        "metrics": metrics,
    }  # fmt: skip
    return save(out, withdrawal, joint, about=about)


def _examples(
    sets: Sequence[TrainingSet], plan: Plan, names: tuple[str, ...], part: Any, courses: int, seed: int, told: Told
) -> tuple[pl.DataFrame, pl.DataFrame]:
    rows, truths = [], []
    for one in sets:
        cohort = build(one.stays, courses, seed=seed, part=part)
        dataset = cohort.dataset()
        done, total = 0, len(dataset)

        def folded(count: int, what: str = f"{one.name}, {part}", total: int = total) -> None:
            nonlocal done
            done += count
            told(what, done, total)

        rows.append(row_table(plan, dataset, names, folded))
        truths.append(cohort.truth_table(one.name))
    truth = pl.concat(truths)
    return labelled(pl.concat(rows), truth), truth


def _digest(examples: pl.DataFrame, names: Sequence[str]) -> str:
    digest = hashlib.sha256(np.ascontiguousarray(np.round(as_matrix(examples, names), 6)).astype("<f8").tobytes())
    digest.update("\n".join(examples["stay_id"].to_list()).encode())
    return digest.hexdigest()
