"""The first page of a replay's report: what was run, what it would have cost, and every alerted stay."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

from detector.clock import DAY, rfc3339
from detector.records import SEVERITIES, AlertRecord
from pipelines.drawing.page import NO_FIGURE, Raw, page, section, table, wide, words
from pipelines.drawing.plots import stacked_bars
from pipelines.formats.times import parse_time
from pipelines.replay import Outcome
from pipelines.reports.alerted import Alerted
from pipelines.results import COUNTED_STATES, PAGES
from pipelines.web.alert_html import DISCLAIMER, moment

MOST_STAYS = 5000  # rows of the table; a browser is slow beyond, and alerts.parquet has them all
MOST_DAYS = 14  # of a stay; the rest is one bar
MOST_UNITS = 20  # rows and bars; the smaller ones are taken together
MOST_DATES = 62
"""Calendar days are shown when the whole replay spans no more: de-identified stays lie centuries apart."""
WORST_FIRST = tuple(reversed(SEVERITIES))
NOT_GIVEN = "not given"
SYNTHETIC = "Synthetic data: readings were made up, in part or all of them."
PUMPS_ASSUMED = "Every patient is taken to have a pump (--pumps all). Rates say what alerts would cost if that were so."


@dataclass
class Share:
    """Part of a replay: the time that patients were watched in it (ms), its stays, and its counted alerts by severity."""

    watched: int = 0
    stays: int = 0
    alerts: Counter[str] = field(default_factory=Counter)

    @property
    def rates(self) -> dict[str, float]:
        """Alerts per 100 patient-days by severity; empty when nobody was watched."""
        return {word: 100 * n * DAY / self.watched for word, n in self.alerts.items()} if self.watched else {}


def overview(outcome: Outcome, summary: Mapping[str, Any], stays: Sequence[Alerted], paged: Collection[str]) -> str:
    """The whole page. ``stays`` are all that were alerted, worst first; ``paged`` names those that have a page."""
    run = summary["run"]
    inputs = ", ".join(run["inputs"])
    units = _joined(_by_unit(outcome))
    return page(
        "itbwatch: replay",
        f'<h1>itbwatch: replay of {escape(inputs)}</h1><p class="notice">{DISCLAIMER}</p>'
        + "".join(f'<p class="notice"><b>{escape(one)}</b></p>' for one in notices(run))
        + '<p class="screen"><a href="#stays">Alerted stays</a> · <a href="#burden">Burden</a> · <a href="#unused">Not used</a> · <a href="#run">What was run</a></p>'
        + section("Alerts opened or raised", table(("severity", "alerts", "per 100 patient-days", "per 100 gated patient-days"), _burden(summary))
                  + f"<p>{summary['stays']:,} stays, {len(stays):,} of them alerted; {summary['patient_days']:,} patient-days, of which on "
                  f"{summary['gated_patient_days']:,} the gate was open: withdrawal could be alerted.</p>", "burden")
        + section("Alerted stays", _stays(outcome, stays, paged), "stays")
        + section("By syndrome and severity", table(("syndrome", *WORST_FIRST), _by_syndrome(summary)))
        + section("By unit", wide(table(_HEAD, _shares(units)), "alerts by unit") + stacked_bars({name: one.rates for name, one in units.items()}, WORST_FIRST))
        + section("By day of the stay", wide(table(_HEAD, _shares(days := _by_day(outcome))), "alerts by day of the stay")
                  + stacked_bars({name: one.rates for name, one in days.items()}, WORST_FIRST))
        + section("By unit and day of the stay", _grid(outcome, units))
        + _dates(outcome)
        + section("Not used, and why", "<h3>Rejected</h3>" + table(("topic", "reason", "rows"), _rows(summary["rejected"]))
                  + "<h3>Too late to be used</h3>" + table(("signal", "observations"), _rows(summary.get("late_observations", {})))
                  + "<h3>Suppressed</h3>" + table(("reason", "alerts"), _rows(summary.get("alerts_suppressed", {})))
                  + "<h3>Ignored events</h3>" + table(("kind", "reason", "events"), _rows(summary.get("events_ignored", {}))), "unused")
        + section("What was run", table(("", ""), _facts(summary)), "run"),
    )  # fmt: skip


def notices(run: Mapping[str, Any]) -> list[str]:
    """What a reader of any page of the report must know first, as plain text."""
    return [*([SYNTHETIC] if run["synthetic"] else []), *([PUMPS_ASSUMED] if run.get("pumps") == "all" else [])]


_HEAD = ("", "stays", "patient-days", *WORST_FIRST, "all, per 100 patient-days")


def _facts(summary: Mapping[str, Any]) -> Iterator[Sequence[object]]:
    run = summary["run"]
    yield "inputs", ", ".join(run["inputs"])
    yield "format", run["format"]
    yield "pumps", run["pumps"] or "as the inputs say"
    if run.get("shadow"):
        yield "shadow", f"{run['shadow']}: shadow.parquet, not in this report; itbwatch compare shows the differences"
    for remark in run.get("remarks", ()):
        yield "remark", remark
    for name in ("stays", "patient_days", "gated_patient_days", "rows", "rows_per_second", "seconds", "peak_memory_mb"):
        yield words(name), summary[name]
    yield "plan", f"{summary['plan_digest'][:16]}, rules {summary['rules_version']}"
    yield "versions", ", ".join(f"{name} {number}" for name, number in summary["versions"].items())


def _burden(summary: Mapping[str, Any]) -> Iterator[Sequence[object]]:
    for word in WORST_FIRST:
        rates = (summary[f"alerts_per_100_{kind}patient_days"][word] for kind in ("", "gated_"))
        yield (
            Raw(f'<span class="badge">{word}</span>'), summary["alerts_by_severity"][word],
            *(NO_FIGURE if rate is None else float(rate) for rate in rates),
        )  # fmt: skip


def _by_syndrome(summary: Mapping[str, Any]) -> Iterator[Sequence[object]]:
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for one in summary["alerts"]:
        counts[one["syndrome"]][one["severity"]] += one["count"]
    for syndrome, by_severity in sorted(counts.items()):
        yield words(syndrome), *(by_severity[word] for word in WORST_FIRST)


def _stays(outcome: Outcome, stays: Sequence[Alerted], paged: Collection[str]) -> str:
    starts = _starts(outcome)

    def rows() -> Iterator[Sequence[object]]:
        for stay in stays[:MOST_STAYS]:
            worst = stay.worst
            name = escape(stay.stay_id or NOT_GIVEN)
            counted = Counter(one.severity for one in stay.records if one.state in COUNTED_STATES)
            start = starts.get((stay.patient_id, stay.stay_id))
            yield (
                Raw(f'<span class="badge">{escape(worst.severity)}</span>'), Raw(moment(worst.at)),
                "-" if start is None else max(0, parse_time(worst.at) - start) // DAY + 1,
                Raw(f'<a href="{PAGES}/{stay.file}">{name}</a>') if stay.name in paged else Raw(name),
                stay.patient_id, worst.unit or NOT_GIVEN,
                ", ".join(f"{counted[word]} {word}" for word in WORST_FIRST if counted[word]) or "-", worst.headline,
            )  # fmt: skip

    said = f"<p>{len(stays):,} stays, the most severe first, then by time."
    if len(paged) < len(stays):
        said += f" The first {len(paged):,} have a page; {len(stays) - len(paged):,} do not (--report-stays)."
    if len(stays) > MOST_STAYS:
        said += f" The first {MOST_STAYS:,} are listed; alerts.parquet has all."
    head = ("most severe", "since", "day", "stay", "patient", "unit", "opened or raised", "headline")
    return f"{said}</p>" + wide(table(head, rows()), "alerted stays")


def _shares(shares: Mapping[str, Share]) -> Iterator[Sequence[object]]:
    for name, one in shares.items():
        every = sum(one.alerts.values())
        rate = 100 * every * DAY / one.watched if one.watched else NO_FIGURE
        yield name, one.stays, one.watched / DAY, *(one.alerts[word] for word in WORST_FIRST), rate


def _by_unit(outcome: Outcome) -> dict[str, Share]:
    units: defaultdict[str, Share] = defaultdict(Share)
    for stay in outcome.stays:
        unit = units[stay.unit or NOT_GIVEN]
        unit.stays += 1
        unit.watched += stay.end - stay.start
    for record in _counted(outcome.records):
        units[record.unit or NOT_GIVEN].alerts[record.severity] += 1
    return dict(sorted(units.items()))


def _joined(units: Mapping[str, Share]) -> dict[str, Share]:
    """The largest units; the others as one."""
    kept = sorted(sorted(units, key=lambda name: -units[name].watched)[:MOST_UNITS])
    shown = {name: units[name] for name in kept}
    rest = [one for name, one in units.items() if name not in shown]
    if rest:
        alerts = sum((one.alerts for one in rest), Counter[str]())
        shown[f"{len(rest)} smaller units"] = Share(
            sum(one.watched for one in rest), sum(one.stays for one in rest), alerts
        )
    return shown


def _by_day(outcome: Outcome, unit: str | None = None) -> dict[str, Share]:
    """By day of the stay, counted from its beginning; of one unit where it is given."""
    days = [Share() for _ in range(MOST_DAYS + 1)]
    for stay in outcome.stays:
        if unit is None or (stay.unit or NOT_GIVEN) == unit:
            for day in range(min(MOST_DAYS, max(0, stay.end - stay.start - 1) // DAY) + 1):
                until = stay.end if day == MOST_DAYS else min(stay.end, stay.start + (day + 1) * DAY)
                days[day].watched += max(0, until - stay.start - day * DAY)
                days[day].stays += 1
    starts = _starts(outcome)
    for record in _counted(outcome.records):
        if unit is None or (record.unit or NOT_GIVEN) == unit:
            at = parse_time(record.at)
            day = min(MOST_DAYS, max(0, at - starts.get((record.patient_id, record.stay_id), at)) // DAY)
            days[day].alerts[record.severity] += 1
    last = max((day for day, one in enumerate(days) if one.stays or one.alerts), default=-1)
    return {f"day {day + 1}{' on' if day == MOST_DAYS else ''}": days[day] for day in range(last + 1)}


def _grid(outcome: Outcome, units: Mapping[str, Share]) -> str:
    """All severities together: the rate, and the count behind it."""
    of_units = {unit: _by_day(outcome, unit) for unit in units}
    names = max((list(days) for days in of_units.values()), key=len, default=[])

    def cell(one: Share | None) -> str:
        if one is None or not one.watched:
            return ""
        count = sum(one.alerts.values())
        return f"{100 * count * DAY / one.watched:.0f} ({count})" if count else "0"

    rows = ((unit, *(cell(days.get(name)) for name in names)) for unit, days in of_units.items() if days)
    said = "<p>Alerts opened or raised per 100 patient-days, and how many they were.</p>"
    return said + wide(table(("unit", *names), rows), "alerts by unit and day of the stay")


def _dates(outcome: Outcome) -> str:
    """By calendar day, where the replay is of one time."""
    first = min((one.start for one in outcome.stays), default=0) // DAY
    last = max((max(one.start, one.end - 1) for one in outcome.stays), default=0) // DAY
    if last - first >= MOST_DATES:
        return ""
    days = [Share() for _ in range(first, last + 1)]
    for stay in outcome.stays:
        for number in range(stay.start // DAY, max(stay.start, stay.end - 1) // DAY + 1):
            days[number - first].watched += min(stay.end, (number + 1) * DAY) - max(stay.start, number * DAY)
            days[number - first].stays += 1
    late = Share()
    for record in _counted(outcome.records):
        number = parse_time(record.at) // DAY - first
        (days[number] if 0 <= number < len(days) else late).alerts[record.severity] += 1
    named = {rfc3339((first + number) * DAY)[:10]: one for number, one in enumerate(days)}
    if late.alerts:
        named["after the last stay"] = late
    return section("By calendar day (UTC)", wide(table(_HEAD, _shares(named)), "alerts by calendar day"))


def _starts(outcome: Outcome) -> dict[tuple[str | None, str | None], int]:
    return {(stay.patient_id, stay.stay_id): stay.start for stay in outcome.stays}


def _counted(records: Iterable[AlertRecord]) -> Iterator[AlertRecord]:
    return (record for record in records if record.state in COUNTED_STATES)


def _rows(tree: Mapping[str, Any], *path: str) -> Iterator[Sequence[object]]:
    for name, branch in tree.items():
        if isinstance(branch, Mapping):
            yield from _rows(branch, *path, name)
        else:
            yield *map(words, path), words(name), branch
