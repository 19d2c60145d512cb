"""Single stays as a clinician reads them: signals over time, what happened, when we spoke and on what evidence.

Times are hours from the first visible sign (of a stay without a course: from its first reading); no date, no name and
no identifier of a stay appears, only a label that stays.parquet resolves in the house.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
import polars as pl

from detector.catalogue.signals import Catalogue
from detector.clock import HOUR
from detector.records import SEVERITIES as ALERT_SEVERITIES
from detector.records import AlertRecord, Evidence
from pipelines.drawing.page import words
from pipelines.drawing.stay_chart import Chart, Course, Mark, Point, Step, Track, hour_labels, stay_chart
from pipelines.evaluation.counting import ASKS, Fired, Hits
from pipelines.evaluation.truth import NO_TIME, SEVERITIES, Ints, Mask, Stays
from pipelines.formats.times import parse_time
from pipelines.reports.alerted import cited_readings

SIGNALS = ("temp", "hr", "sbp", "ck", "plt", "creat")
EVENTS = (("interrupted_at", "interrupted"), ("first_visible_at", "first visible sign"),
          ("organ_failure_at", "organ failure"), ("restored_at", "restored"))  # fmt: skip
SHOWN = ("watch", "warning", "critical")


@dataclass(frozen=True)
class Chosen:
    """A stay to be shown: its row in the truth, the label it goes by, and why it was chosen."""

    row: int
    label: str
    why: str


def choose(stays: Stays, warnings: Fired, found: Hits, *, seed: int, each: int = 2) -> list[Chosen]:
    """A sample that does not flatter: of every severity as many missed as found courses (``each``, drawn by ``seed``),
    and the background and look-alike stays with the most warnings.
    """
    rng = np.random.default_rng(seed)
    chosen: list[Chosen] = []
    hit = found.net != NO_TIME
    for severity in SEVERITIES:
        mask = stays.where(severity=severity)
        for outcome, among in (("missed", mask & ~hit), ("found", mask & hit)):
            rows = np.sort(rng.permutation(np.flatnonzero(among))[:each])
            chosen += [
                Chosen(int(row), f"{words(severity)} course, {outcome}, {number}", outcome)
                for number, row in enumerate(rows, 1)
            ]
    per_stay = np.bincount(warnings.stay, minlength=len(stays))
    for name, kind in (("look-alike", stays.look_alike), ("background", stays.background)):
        chosen += [
            Chosen(row, f"{name} with most warnings, {number}", "false alarm")
            for number, row in enumerate(_worst(per_stay, kind)[:each], 1)
        ]
    return chosen


def timeline(
    one: Chosen, stays: Stays, readings: pl.DataFrame, records: Iterable[AlertRecord], catalogue: Catalogue
) -> str:
    """The stay as HTML: a drawing, and the evidence of the first record of each severity it reached.

    ``readings``: columns of ``picture.READING``; ``records``: all records of the run.
    """
    truth = stays.truth.row(one.row, named=True)
    origin = truth["first_visible_at"] if truth["first_visible_at"] is not None else truth["first_at"]
    own = readings.filter(pl.col("stay_id") == truth["stay_id"])
    mine = [one for one in records if one.stay_id == truth["stay_id"]]
    asked = [one for one in mine if one.state in ASKS and one.severity in SHOWN]
    facts = ", ".join(
        [words(truth["kind"]), *([words(truth["severity"])] if truth["severity"] else []),
         "with tone" if truth["with_tone"] else "without tone", str(truth["data_set"] or "data set not given")]
    )  # fmt: skip
    return (
        f'<article class="timeline"><h3>{escape(one.label)}</h3><p>{escape(facts)}</p>'
        + stay_chart(_chart(one, truth, origin, own, mine, catalogue))
        + _evidence(asked, origin)
        + "</article>"
    )


def _chart(
    one: Chosen, truth: Mapping[str, int | None], origin: int, own: pl.DataFrame, mine: Sequence[AlertRecord],
    catalogue: Catalogue,
) -> Chart:  # fmt: skip
    start = int(truth["first_at"] or 0)
    end = max(int(truth["last_at"] or 0), start + HOUR)
    tracks = []
    for name in SIGNALS:
        part = own.filter(pl.col("signal") == name).sort("effective_at")
        if len(part):
            signal = catalogue.signals[name]
            points = [Point(*row) for row in part.select("effective_at", "value").iter_rows()]
            low, high = (signal.reference.low, signal.reference.high) if signal.reference else (None, None)
            tracks.append(
                Track(
                    name, signal.title, signal.unit, points, low, high, signal.stale_after, only_up=signal.worse == "up"
                )
            )
    alerts: dict[str, list[AlertRecord]] = {}
    for record in mine:
        alerts.setdefault(record.alert_id, []).append(record)
    return Chart(
        one.label, start, end, hour_labels(start, end, origin, lambda at: (f"{(at - origin) / HOUR:+g} h",)), tracks,
        courses=[
            Course(words(those[0].syndrome), [Step(parse_time(each.at), each.severity, each.state, each.state in ASKS) for each in those])
            for those in alerts.values()
        ],
        marks=[Mark(at, name) for column, name in EVENTS if (at := truth[column]) is not None],
        cited=cited_readings(mine),
    )  # fmt: skip


def _evidence(asked: Sequence[AlertRecord], origin: int) -> str:
    first: dict[str, AlertRecord] = {}
    for record in asked:
        first.setdefault(record.severity, record)
    if not first:
        return "<p>No alert of watch or higher.</p>"
    parts = []
    for record in sorted(first.values(), key=lambda one: (ALERT_SEVERITIES[one.severity], one.at)):
        lines = "".join(f"<li>{line}</li>" for line in _cited(record.evidence, origin))
        parts.append(
            f'<p><span class="badge">{escape(record.severity)}</span> {escape(record.state)} at {_hours(record.at, origin):.1f} h</p><ul>{lines}</ul>'
        )
    return "<details><summary>Evidence</summary>" + "".join(parts) + "</details>"


def _cited(evidence: Iterable[Evidence], origin: int) -> Iterator[str]:
    for line in evidence:
        value = "" if line.value is None else f" {line.value:g} {escape(line.unit or '')}"
        change = f" ({escape(line.change)})" if line.change else ""
        yield f"{escape(line.signal)}<b>{value}</b>{change} measured at {_hours(line.effective_at, origin):.1f} h, {escape(line.rule)}"


def _worst(per_stay: Ints, among: Mask) -> list[int]:
    rows = np.flatnonzero(among & (per_stay > 0))
    return [int(row) for row in rows[np.argsort(-per_stay[rows], kind="stable")]]


def _hours(at: str, origin: int) -> float:
    return (parse_time(at) - origin) / HOUR
