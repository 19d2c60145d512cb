"""Single stays as a clinician reads them: signals over time, what happened, when we spoke and on what evidence.

Times are hours from the first visible sign (of a stay without a course: from its first reading); no date, no name and
no identifier of a stay appears, only a label that stays.parquet resolves in the house.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from html import escape
from math import log10

import numpy as np
import polars as pl

from detector.clock import HOUR, from_datetime
from detector.records import SEVERITIES as ALERT_SEVERITIES
from detector.records import AlertRecord, Evidence
from pipelines.evaluation.counting import ASKS, Fired, Hits
from pipelines.evaluation.plots import COLOURS, ticks
from pipelines.evaluation.truth import NO_TIME, SEVERITIES, Ints, Mask, Stays

SIGNALS = (("temp", "temperature, Cel"), ("hr", "heart rate, /min"), ("sbp", "systolic pressure, mm[Hg]"),
           ("ck", "CK, U/L (log)"), ("plt", "platelets, 10*3/uL"), ("creat", "creatinine, mg/dL"))  # fmt: skip
LOGARITHMIC = frozenset({"ck"})
WIDTH, LEFT, ROW, GAP = 760, 150, 62, 8
EVENTS = (("interrupted_at", "interrupted"), ("first_visible_at", "first visible sign"),
          ("organ_failure_at", "organ failure"), ("restored_at", "restored"))  # fmt: skip
ALERT_COLOUR = {"watch": "#2b6cb0", "warning": "#b7791f", "critical": "#c53030"}


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
                Chosen(int(row), f"{_words(severity)} course, {outcome}, {number}", outcome)
                for number, row in enumerate(rows, 1)
            ]
    per_stay = np.bincount(warnings.stay, minlength=len(stays))
    for name, kind in (("look-alike", stays.look_alike), ("background", stays.background)):
        chosen += [
            Chosen(row, f"{name} with most warnings, {number}", "false alarm")
            for number, row in enumerate(_worst(per_stay, kind)[:each], 1)
        ]
    return chosen


def timeline(one: Chosen, stays: Stays, readings: pl.DataFrame, records: Iterable[AlertRecord]) -> str:
    """The stay as HTML: a drawing, and the evidence of the first record of each severity it reached.

    ``readings``: columns of ``picture.READING``; ``records``: all records of the run.
    """
    truth = stays.truth.row(one.row, named=True)
    origin = truth["first_visible_at"] if truth["first_visible_at"] is not None else truth["first_at"]
    own = readings.filter(pl.col("stay_id") == truth["stay_id"])
    asked = [
        record for record in records
        if record.stay_id == truth["stay_id"] and record.state in ASKS and record.severity in ALERT_COLOUR
    ]  # fmt: skip
    facts = ", ".join(
        [_words(truth["kind"]), *([_words(truth["severity"])] if truth["severity"] else []),
         "with tone" if truth["with_tone"] else "without tone", str(truth["data_set"] or "data set not given")]
    )  # fmt: skip
    return (
        f'<article class="timeline"><h3>{escape(one.label)}</h3><p>{escape(facts)}</p>'
        + _drawing(truth, origin, own, asked)
        + _evidence(asked, origin)
        + "</article>"
    )


def _drawing(truth: Mapping[str, int | None], origin: int, own: pl.DataFrame, asked: Sequence[AlertRecord]) -> str:
    start = (int(truth["first_at"] or 0) - origin) / HOUR
    end = max((int(truth["last_at"] or 0) - origin) / HOUR, start + 1)
    scale = (WIDTH - LEFT - 20) / (end - start)

    def px(hours: float) -> float:
        return LEFT + scale * (min(max(hours, start), end) - start)

    shown = [(name, title) for name, title in SIGNALS if len(own.filter(pl.col("signal") == name))]
    top, height = 34, 34 + len(shown) * (ROW + GAP)
    drawn = [
        f'<text x="{px(value):.0f}" y="{height + 14}" text-anchor="middle">{value:g} h</text>'
        for value in ticks(start, end, 8)
    ]
    for row, (name, title) in enumerate(shown):
        part = own.filter(pl.col("signal") == name).sort("effective_at")
        hours = ((part["effective_at"] - origin) / HOUR).to_list()
        drawn.append(_signal(name, title, hours, part["value"].to_list(), px, top + row * (ROW + GAP)))
    for number, (column, name) in enumerate(EVENTS):
        at = truth[column]
        if at is not None:
            x = px((at - origin) / HOUR)
            drawn.append(
                f'<line x1="{x:.1f}" x2="{x:.1f}" y1="20" y2="{height}" stroke="{COLOURS[number]}" stroke-dasharray="4 3"/>'
            )
            drawn.append(
                f'<text x="{x + 3:.1f}" y="{height + 30 + 13 * number}" fill="{COLOURS[number]}">{name}</text>'
            )
    for record in asked:
        after = _hours(record.at, origin)
        x, colour = px(after), ALERT_COLOUR[record.severity]
        drawn.append(
            f'<g><path d="M{x - 6:.1f} 4h12l-6 11z" fill="{colour}"/><line x1="{x:.1f}" x2="{x:.1f}" y1="15" y2="{height}" stroke="{colour}" stroke-opacity="0.5"/>'
            f"<title>{escape(record.severity)} {escape(record.state)} at {after:.1f} h</title></g>"
        )
    total = height + 30 + 13 * len(EVENTS)
    return f'<svg viewBox="0 0 {WIDTH} {total}" width="{WIDTH}" height="{total}" role="img">{"".join(drawn)}</svg>'


def _signal(
    name: str, title: str, hours: Sequence[float], values: Sequence[float], px: Callable[[float], float], top: float
) -> str:
    logarithmic = name in LOGARITHMIC
    heights = [log10(max(value, 1.0)) if logarithmic else value for value in values]
    low, high = min(heights), max(heights)
    room = (high - low) or 1.0

    def py(value: float) -> float:
        return top + ROW * (1 - (value - low) / room)

    points = [(px(a), py(b)) for a, b in zip(hours, heights, strict=True)]
    path = "".join(f"{'L' if number else 'M'}{a:.1f} {b:.1f}" for number, (a, b) in enumerate(points))
    dots = "".join(f'<circle cx="{a:.1f}" cy="{b:.1f}" r="1.6"/>' for a, b in points) if len(points) <= 60 else ""
    return (
        f'<text x="0" y="{top + 14}">{escape(title)}</text><text x="0" y="{top + 30}" class="quiet">{min(values):g} to {max(values):g}</text>'
        f'<path d="{path}" fill="none" stroke="currentColor" stroke-width="1"/><g fill="currentColor">{dots}</g>'
    )


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
    return (from_datetime(datetime.fromisoformat(at)) - origin) / HOUR


def _words(name: str) -> str:
    return name.replace("_", " ")
