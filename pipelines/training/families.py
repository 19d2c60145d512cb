"""Leave one family out: what the withdrawal score makes of courses whose kind, generator or severity it never saw.

The score is fitted without a family, and both it and the whole one are asked about that family on the people of the
calibration, each at its own threshold for the same burden. Simulated courses: for comparing, not for believing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from models.withdrawal import WithdrawalScore
from pipelines.evaluation.ablation import mcnemar
from pipelines.evaluation.counting import Fired, Hits
from pipelines.evaluation.curve import at_budgets
from pipelines.evaluation.intervals import Figure, rate, wilson
from pipelines.evaluation.truth import NO_TIME, Mask, Stays
from pipelines.training.fit import as_matrix, fit
from pipelines.training.metrics import without_tone

PER_100_DAYS = 3.0
"""The burden at which both are asked: that of the shipped configuration."""


class Family(NamedTuple):
    """Courses that have one of ``kinds`` (empty = any), the generator and the severity (None = any)."""

    name: str
    kinds: tuple[str, ...] = ()
    generator: str | None = None
    severity: str | None = None

    def of(self, columns: Mapping[str, Iterable[object]]) -> Mask:
        """Which elements of the columns kind, generator and severity belong to it."""
        belongs = np.array([not self.kinds or kind in self.kinds for kind in columns["kind"]], dtype=bool)
        for name, wanted in (("generator", self.generator), ("severity", self.severity)):
            if wanted is not None:
                belongs &= np.array([one == wanted for one in columns[name]], dtype=bool)
        return belongs


FAMILIES = (
    Family("withdrawal", ("withdrawal",)),
    Family("partial withdrawal", ("partial_withdrawal",)),
    Family("restored withdrawal", ("restored_withdrawal",)),
    Family("every mild withdrawal", severity="mild"),
    Family("generator balance", generator="balance"),
    Family("generator logistic", generator="logistic"),
    Family("generator episodic", generator="episodic"),
    Family("sepsis", ("sepsis", "septic_shock")),
    Family("post-operative CK", ("post_operative_ck",)),
    Family("isolated fever", ("isolated_fever",)),
    Family("isolated organ", ("isolated_kidney", "isolated_liver", "isolated_platelets", "shock_liver")),
    Family("status epilepticus", ("status_epilepticus",)),
    Family("dysreflexia", ("dysreflexia",)),
)


def left_out(examples: pl.DataFrame, family: Family) -> pl.DataFrame:
    """The examples without those of a family: neither its course nor the hours before it in the same stay."""
    columns = {name: examples[name].to_list() for name in ("kind", "generator", "severity")}
    return examples.filter(pl.Series(~family.of(columns)))


def families(
    examples: pl.DataFrame, calibration: pl.DataFrame, whole: WithdrawalScore, people: Stays, written: Mapping[str, Any], *,
    seed: int, chosen: Sequence[Family] = FAMILIES, told: Callable[[str], object] = lambda _: None,
) -> list[dict[str, Any]]:  # fmt: skip
    """A row for each family and for tone ``charted`` or not: its courses found and its look-alikes' warnings per 100
    patient-days at ``PER_100_DAYS``, by the score that was fitted ``with`` it and by the one fitted ``without``, each
    with its interval; courses won and lost by leaving it out, with McNemar's p. None = it has no such stays.
    """
    asked = {"charted": calibration, "not_charted": without_tone(calibration, written["tone"])}
    known = {tone: _at_budget(whole, rows, people) for tone, rows in asked.items()}
    made = []
    for family in chosen:
        less = fit(
            left_out(examples, family), left_out(calibration, family), whole.columns, written, seed=seed, told=told
        )
        for tone, rows in asked.items():
            made.append({"family": family.name, "tone": tone,
                         **_compared(known[tone], _at_budget(less[0], rows, people), family, people, seed=seed)})  # fmt: skip
    return made


def _at_budget(score: WithdrawalScore, rows: pl.DataFrame, people: Stays) -> tuple[Hits, Fired] | None:
    values = as_matrix(rows, score.columns)
    said = np.array([reason is None for reason in score.reasons(values)], dtype=bool)
    scores = rows.select("stay_id", "at").with_columns(
        score=pl.Series(np.where(said, score.probabilities(values), np.nan))
    )
    reached = at_budgets(scores, people, (PER_100_DAYS,))[0]
    return None if reached.found is None or reached.warnings is None else (reached.found, reached.warnings)


def _compared(
    whole: tuple[Hits, Fired] | None, less: tuple[Hits, Fired] | None, family: Family, people: Stays, *, seed: int
) -> dict[str, Any]:
    mine = family.of(people.cells)
    courses, alike = mine & people.course, mine & people.look_alike
    both = {"with": whole, "without": less}
    row: dict[str, Any] = {"found": None, "look_alikes": None, "won": None, "lost": None, "p": None}
    if courses.any():
        found = {name: _found(one, courses) for name, one in both.items()}
        won, lost = int((found["without"] & ~found["with"]).sum()), int((found["with"] & ~found["without"]).sum())
        row["found"] = {name: wilson(int(one.sum()), int(courses.sum()))._asdict() for name, one in found.items()}
        row |= {"won": won, "lost": lost, "p": mcnemar(won, lost)}
    if alike.any():
        row["look_alikes"] = {name: _warnings(one, alike, people, seed=seed)._asdict() for name, one in both.items()}
    return row


def _found(reached: tuple[Hits, Fired] | None, courses: Mask) -> Mask:
    return np.zeros_like(courses) if reached is None else courses & (reached[0].net != NO_TIME)


def _warnings(reached: tuple[Hits, Fired] | None, alike: Mask, people: Stays, *, seed: int) -> Figure:
    stays = reached[1].stay if reached is not None else np.zeros(0, dtype=np.int64)
    counts = np.bincount(stays, minlength=len(people))[alike]
    return rate(counts, people.days[alike], people.person[alike], seed=seed)
