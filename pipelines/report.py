"""The report of a replay: one HTML file without any outside address, to be read by people who were not there."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from html import escape
from typing import Any

from detector.clock import DAY, from_datetime
from detector.records import SEVERITIES, AlertRecord
from pipelines.replay import Outcome
from pipelines.results import COUNTED_STATES
from pipelines.web.alert_html import DISCLAIMER, STYLE, alert_html

MOST_ALERTS = 500  # listed in full; a browser is slow beyond, and alerts.parquet has them all
MOST_DAYS = 14  # of a stay in the plot; the rest is one bar

Bars = Mapping[str, Mapping[str, float]]
"""label -> severity -> height."""


def report_html(outcome: Outcome, summary: Mapping[str, Any]) -> str:
    """The whole page."""
    synthetic = '<p class="notice"><b>Synthetic data.</b> No person stands behind any number here.</p>'
    run = summary["run"]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>itbwatch replay</title>'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f"<style>{STYLE}</style></head><body><h1>itbwatch: replay of {escape(', '.join(run['inputs']))}</h1>"
        f'<p class="notice">{DISCLAIMER}</p>{synthetic if run["synthetic"] else ""}'
        + _section("What was run", _table(("", ""), _facts(summary)))
        + _section("Alerts opened or raised", _table(("severity", "alerts", "per 100 patient-days", "per 100 gated patient-days"), _burden(summary)))
        + _section("By syndrome", _table(("syndrome", "severity", "state", "alerts"), ([*one.values()] for one in summary["alerts"])))
        + _section("Per 100 patient-days, by unit", _plot(_by_unit(outcome)))
        + _section("Alerts by day of the stay", _plot(_by_day(outcome)))
        + _section("Not used, and why", _table(("topic", "reason", "rows"), _rows(summary["rejected"])))
        + _section("Alerts", _alerts(outcome.records))
        + "</body></html>\n"
    )  # fmt: skip


def _facts(summary: Mapping[str, Any]) -> Iterable[Sequence[object]]:
    run = summary["run"]
    yield "inputs", ", ".join(run["inputs"])
    yield "format", run["format"]
    yield "pumps", run["pumps"] or "as the inputs say"
    for name in ("stays", "patient_days", "gated_patient_days", "rows", "rows_per_second", "seconds", "peak_memory_mb"):
        yield name.replace("_", " "), summary[name]
    yield "plan", f"{summary['plan_digest'][:16]}, rules {summary['rules_version']}"
    yield "versions", ", ".join(f"{name} {number}" for name, number in summary["versions"].items())


def _burden(summary: Mapping[str, Any]) -> Iterable[Sequence[object]]:
    for word in reversed(SEVERITIES):
        rates = (summary[f"alerts_per_100_{kind}patient_days"][word] for kind in ("", "gated_"))
        yield word, summary["alerts_by_severity"][word], *("-" if rate is None else f"{rate:.2f}" for rate in rates)


def _by_unit(outcome: Outcome) -> Bars:
    days: Counter[str] = Counter()
    for stay in outcome.stays:
        days[stay.unit or "not given"] += stay.days  # type: ignore[assignment]  # a Counter of days
    bars: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for record in _counted(outcome.records):
        bars[record.unit or "not given"][record.severity] += 1
    return {
        unit: {word: 100 * count / days[unit] for word, count in bars[unit].items()}
        for unit in sorted(days)
        if days[unit]
    }


def _by_day(outcome: Outcome) -> Bars:
    starts = {stay.stay_id: stay.start for stay in outcome.stays}
    bars: defaultdict[int, Counter[str]] = defaultdict(Counter)
    for record in _counted(outcome.records):
        at = from_datetime(datetime.fromisoformat(record.at))
        day = min(MOST_DAYS, max(0, at - starts.get(record.stay_id, at)) // DAY)
        bars[day][record.severity] += 1
    last = max(bars, default=0)
    return {f"day {day + 1}{' on' if day == MOST_DAYS else ''}": bars[day] for day in range(last + 1)}


def _alerts(records: Sequence[AlertRecord]) -> str:
    """Each alert once, as it last stood at its most severe, most severe first."""
    worst: dict[str, AlertRecord] = {}
    for record in records:
        before = worst.get(record.alert_id)
        if before is None or (
            record.state != "resolved" and SEVERITIES[record.severity] >= SEVERITIES[before.severity]
        ):
            worst[record.alert_id] = record
    chosen = sorted(worst.values(), key=lambda one: (-SEVERITIES[one.severity], one.at, one.alert_id))
    left_out = f"<p>The {MOST_ALERTS} most severe of {len(chosen)}; alerts.parquet has all.</p>"
    return (
        left_out
        if len(chosen) > MOST_ALERTS
        else f"<p>{len(chosen)} alerts, each as it last stood at its most severe.</p>"
    ) + "".join(alert_html(record, record.stay_id or "not given") for record in chosen[:MOST_ALERTS])


def _counted(records: Iterable[AlertRecord]) -> Iterable[AlertRecord]:
    return (record for record in records if record.state in COUNTED_STATES)


def _plot(bars: Bars) -> str:
    """Stacked horizontal bars, one a label."""
    if not any(sum(parts.values()) for parts in bars.values()):
        return "<p>None.</p>"
    left, width, step = 130, 560, 22
    longest = max(sum(parts.values()) for parts in bars.values())
    drawn = []
    for row, (label, parts) in enumerate(bars.items()):
        x, y = float(left), row * step
        drawn.append(f'<text x="0" y="{y + 15}">{escape(label)}</text>')
        for word in reversed(SEVERITIES):
            length = width * parts.get(word, 0) / longest
            drawn.append(
                f'<rect class="{word}" x="{x:.1f}" y="{y + 3}" width="{length:.1f}" height="{step - 6}"><title>{word}: {parts.get(word, 0):.4g}</title></rect>'
            )
            x += length
        drawn.append(f'<text x="{x + 6:.1f}" y="{y + 15}">{sum(parts.values()):.4g}</text>')
    return f'<svg width="{left + width + 60}" height="{len(bars) * step}" role="img">{"".join(drawn)}</svg>'


def _rows(tree: Mapping[str, Any], *path: str) -> Iterable[Sequence[object]]:
    for name, branch in tree.items():
        if isinstance(branch, Mapping):
            yield from _rows(branch, *path, name)
        else:
            yield *path, name, branch


def _section(title: str, content: str) -> str:
    return f"<h2>{escape(title)}</h2>{content}"


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    body = "".join("<tr>" + "".join(_cell(cell) for cell in row) + "</tr>" for row in rows)
    if not body:
        return "<p>None.</p>"
    titles = "".join(f"<th>{escape(title)}</th>" for title in head) if any(head) else ""
    return f"<table><tr>{titles}</tr>{body}</table>"


def _cell(value: object) -> str:
    numeric = ' class="number"' if isinstance(value, int | float) else ""
    return f"<td{numeric}>{escape(f'{value:,}' if isinstance(value, int | float) else str(value))}</td>"
