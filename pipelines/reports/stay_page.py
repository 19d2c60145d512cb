"""The page of one alerted stay: the picture, each alert as a clinician reads it, and what the picture was drawn from.

The words and their order are those of clinical-evidence.md 5.4: headline, evidence newest first, missing, against, pump
and context, other explanations, checks, information (no orders, no doses), what the models added, where it came from.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape

from detector.catalogue.signals import Catalogue, Signal
from detector.clock import DAY, HOUR, rfc3339
from detector.events import Context, Pump
from detector.records import AlertRecord, Evidence
from detector.rules.scored import SCORE
from detector.writing import NEWEST
from pipelines.drawing.page import Raw, page, section, table, wide, words
from pipelines.drawing.stay_chart import (
    STYLE,
    Chart,
    Course,
    Happening,
    Point,
    Step,
    Track,
    hour_labels,
    range_text,
    stay_chart,
)
from pipelines.formats.times import parse_time
from pipelines.reports.alerted import Alerted, at_its_worst, cited_readings
from pipelines.reports.course import StayCourse
from pipelines.results import COUNTED_STATES
from pipelines.web.alert_html import DISCLAIMER, alert_html, listed, moment

MOST_ROWS = 400  # of a table of results or steps; alerts.parquet and the inputs have all
MOST_NEW = 6  # lines of new evidence for each step of an alert
PUMP_FACTS = ("implanted", "refilled", "low_reservoir_on", "interrogated", "alarm", "reprogrammed", "bolus", "mri", "surgery",
              "catheter_study", "interrupted", "restored", "explanted")  # fmt: skip
ASKED_OF_A_PUMP = ("refilled", "low_reservoir_on", "interrogated", "mri", "surgery")
"""What clinical-evidence.md 5.4 wants to see beside an alert; said to be unknown where nothing is recorded."""

Information = Mapping[str, Sequence[Mapping[str, str]]]
"""Syndrome -> lines of ``text`` and ``source``."""


def stay_page(
    stay: Alerted, course: StayCourse, catalogue: Catalogue, information: Information, *, notices: Sequence[str] = ()
) -> str:
    """The whole page of a replay. ``notices`` stand at its head (plain text)."""
    name = stay.stay_id or "not given"
    return page(
        f"itbwatch: stay {name}",
        '<p class="screen"><a href="../report.html">All stays of this replay</a></p>'
        f'<p class="notice">{DISCLAIMER}</p>'
        + "".join(f'<p class="notice">{escape(notice)}</p>' for notice in notices)
        + stay_content(stay, course, catalogue, information, called=f"Stay {name} of patient {stay.patient_id}"),
        STYLE,
    )


def stay_content(
    stay: Alerted, course: StayCourse, catalogue: Catalogue, information: Information, *, called: str, live: bool = False
) -> str:  # fmt: skip
    """What a page says of the stay ``called`` so. ``live``: alerts as they stand now, not as they stood at their worst."""
    alerts = stay.alerts()
    shown = [records[-1] if live else at_its_worst(records) for records in alerts]
    cited = cited_readings(stay.records)
    stood = "As it stands now, since {}." if live else "As it stood at {}, with the most evidence at its most severe."
    articles = "".join(
        f'<section id="alert-{number}"><h2>Alert {number}: {escape(words(record.syndrome))}</h2>'
        f"<p>{stood.format(moment(record.at))}</p>"
        + alert_html(
            record, stay.name if live else stay.stay_id or "not given",
            _context_lines(course.events, parse_time(record.at)), _further(record, information),
        )
        + _steps(records)
        + "</section>"
        for number, (record, records) in enumerate(zip(shown, alerts, strict=True), 1)
    )  # fmt: skip
    return (
        f"<h1>{escape(called)}</h1>"
        + _who(course)
        + table(("alert", "syndrome", "severity now" if live else "most severe", "opened", "signs since", "resolved", "headline"),
                _overview(alerts, shown, "open" if live else "open at the end"))
        + section("The stay", wide(stay_chart(_chart(called, course, catalogue, alerts, cited)), "the stay as a picture") + LEGEND)
        + articles
        + section("Laboratory results", wide(_laboratory(course, catalogue), "laboratory results"))
        + section("Pump and context events", table(("time", "known", "what", "event", "detail"), _events(course)))
        + section("Not drawn, and why", table(("signal or code", "reason", "observations"), _not_drawn(course)))
        + section("Reference ranges", table(("signal", "range", "source"), _references(course, catalogue)))
    )  # fmt: skip


LEGEND = (
    '<p class="quiet">Strips at the top: an alert; its height is the severity (info, watch, warning, critical). Dashed lines: '
    "it opened or rose. Band: reference range. Ringed: cited as evidence. Dotted line: the reading before had gone stale. "
    "Hollow: skin or axilla, which never count alone. Readings are drawn when they were measured, as they finally stood; "
    "an alert knew only what had been filed by then.</p>"
)


def _who(course: StayCourse) -> str:
    facts = []
    for name, form in (
        ("age_years", "{:g} years"),
        ("sex", "{}"),
        ("weight_kg", "{:g} kg"),
        ("unit", "unit {}"),
        ("bed", "bed {}"),
    ):
        said = course.known(name)
        if said is not None and said != "unknown":
            facts.append(form.format(said))
    ends = (one for one in course.encounters if one.event in ("admitted", "discharged"))
    facts += [f"{one.event} {_day(one.at)}" for one in ends]
    facts.append(f"{(course.end - course.opened) / DAY:.1f} days")
    return f"<p>{escape(', '.join(facts))}. Times are UTC.</p>"


def _overview(
    alerts: Sequence[Sequence[AlertRecord]], shown: Sequence[AlertRecord], still: str
) -> Iterator[Sequence[object]]:
    for number, (records, worst) in enumerate(zip(alerts, shown, strict=True), 1):
        signs = min((one.onset_at for one in records if one.onset_at), default=None)
        ended = next((moment(one.at) for one in records if one.state == "resolved"), still)
        yield (
            Raw(f'<a href="#alert-{number}">{number}</a>'), words(worst.syndrome),
            Raw(f'<span class="badge">{escape(worst.severity)}</span>'), Raw(moment(records[0].at)),
            Raw(moment(signs) if signs else "-"), Raw(ended), worst.headline,
        )  # fmt: skip


def _chart(
    called: str, course: StayCourse, catalogue: Catalogue, alerts: Sequence[Sequence[AlertRecord]],
    cited: set[tuple[str, int, float]],
) -> Chart:  # fmt: skip
    def label(at: int) -> tuple[str, str]:
        return rfc3339(at)[5:16].replace("T", " "), f"{(at - course.opened) / HOUR:+g} h"

    return Chart(
        f"{called}: alerts, events and signals over time",
        course.start, course.end, hour_labels(course.start, course.end, course.opened, label),
        tracks=[
            _track(catalogue, signal, course) for signal in catalogue.signals.values() if signal.name in course.readings
        ],
        happenings=list(_happenings(course)),
        courses=[
            Course(f"{number} {words(records[0].syndrome)}", [
                Step(parse_time(one.at), one.severity, one.state, one.state in COUNTED_STATES) for one in records
            ])
            for number, records in enumerate(alerts, 1)
        ],
        cited={(signal, _drawn_at(course, signal, at, value), value) for signal, at, value in cited},
    )  # fmt: skip


def _drawn_at(course: StayCourse, signal: str, effective_at: int, value: float) -> int:
    """Where a cited reading stands in the picture: one charted ahead of time counts from when it was filed."""
    return next(
        (one.at for one in course.readings.get(signal, ()) if one.effective_at == effective_at and one.value == value),
        effective_at,
    )


def _track(catalogue: Catalogue, signal: Signal, course: StayCourse) -> Track:
    points = [
        Point(one.at, one.value, one.meta.site is not None and catalogue.sites[one.meta.site].peripheral)
        for one in course.readings[signal.name]
    ]
    low, high = _reference(signal, course)
    return Track(
        signal.name,
        signal.title,
        signal.unit.strip("{}"),
        points,
        low,
        high,
        signal.stale_after,
        only_up=signal.worse == "up",
    )


def _reference(signal: Signal, course: StayCourse) -> tuple[float | None, float | None]:
    """The reference range, of the patient's sex where the catalogue has one."""
    reference = signal.reference
    if reference is None:
        return None, None
    own = {"female": reference.female, "male": reference.male}.get(str(course.known("sex")))
    low = own.low if own is not None and own.low is not None else reference.low
    high = own.high if own is not None and own.high is not None else reference.high
    return low, high


def _happenings(course: StayCourse) -> Iterator[Happening]:
    """Lanes: the ward, the pump, then each kind of context in the order in which it first came."""
    moves = [one for one in course.encounters if one.event in ("admitted", "transferred", "discharged")]
    for number, one in enumerate(moves):
        if one.event != "discharged":
            until = moves[number + 1].at if number + 1 < len(moves) else course.end
            yield Happening("ward", one.at, until, f"{one.event} {one.unit or ''}".strip())
    for event in course.events:
        if isinstance(event, Pump):
            yield Happening("pump", event.at, None, _said_of_pump(event))
    begun: dict[tuple[str, str | None], int] = {}
    for event in sorted((one for one in course.events if isinstance(one, Context)), key=lambda one: one.at):
        key = event.kind, event.detail
        if event.event == "started":
            begun.setdefault(key, event.at)
        elif event.event == "stopped" and key in begun:
            yield Happening(words(event.kind), begun.pop(key), event.at, event.detail or "")
        else:
            yield Happening(words(event.kind), event.at, None, f"{event.event} {event.detail or ''}".strip())
    for (kind, detail), at in begun.items():
        yield Happening(words(kind), at, course.end, detail or "")


def _said_of_pump(event: Pump) -> str:
    facts = [words(said) for said in (event.event, event.level, event.reason, event.result) if said is not None]
    if event.date is not None:
        facts.append(rfc3339(event.date)[:10])
    for amount, what in (
        (event.volume_expected_ml, "mL expected"), (event.volume_aspirated_ml, "mL aspirated"),
        (event.concentration_ug_ml, "ug/mL"), (event.daily_dose_ug, "ug a day"),
    ):  # fmt: skip
        if amount is not None:
            facts.append(f"{amount:g} {what}")
    return ", ".join(facts)


def _context_lines(events: Sequence[Pump | Context], at: int) -> Iterator[str]:
    """What was known at an instant of the pump, of surgery and of oral baclofen, the newest of each."""
    known = [one for one in events if one.available_at <= at]
    newest: dict[str, Pump | Context] = {}
    for one in sorted(known, key=lambda each: each.at):
        if isinstance(one, Pump):
            newest[one.event] = one
        elif one.kind in ("oral_baclofen", "surgery"):
            newest[f"context {one.kind}"] = one
    for fact in PUMP_FACTS:
        told = newest.get(fact)
        if isinstance(told, Pump):
            yield f"pump {_said_of_pump(told)}: {_day(told.at)}"
    for kind in ("oral_baclofen", "surgery"):
        told = newest.get(f"context {kind}")
        if isinstance(told, Context):
            yield f"{words(kind)} {told.event} {told.detail or ''}".strip() + f": {_day(told.at)}"
    unknown = [words(fact) for fact in ASKED_OF_A_PUMP if fact not in newest]
    if unknown:
        yield f"not known of the pump: {', '.join(unknown)}"


def _further(record: AlertRecord, information: Information) -> str:
    """Information, model contributions and provenance."""
    models = [
        f"{escape(name)} score <b>{line.value:g}</b>{escape(f': {why}' if why else '')} <span class=\"quiet\">{moment(line.effective_at)}, {escape(line.rule)}</span>"
        for line in record.evidence if line.signal == SCORE and line.value is not None
        for name, _, why in [(line.change or "model").partition(": ")]
    ]  # fmt: skip
    if not models and record.score is not None:
        models = [f"withdrawal score <b>{record.score:g}</b>, cited by no rule"]
    told = [
        f'{escape(line["text"])} <span class="quiet">{escape(line["source"])}</span>'
        for line in information.get(record.syndrome, ())
    ]
    made = record.provenance
    versions = "".join(f", {name} {version}" for name, version in sorted(made.models.items()))
    place = "".join(f", {one.topic}:{one.offset}" for one in made.position)
    source = f"rules {made.rules_version}, plan {made.plan_digest[:16]}{versions}; alert {record.alert_id}, record {record.sequence}{place}"
    return (
        listed("Information, not orders", told)
        + listed("What the models added", models)
        + f'<p class="quiet">{escape(source)}</p>'
    )


def _steps(records: Sequence[AlertRecord]) -> str:
    """Each record of an alert with what was new in it."""
    rows = []
    before: set[tuple[str, str, float | None]] = set()
    for one in records:
        lines = {(line.signal, line.effective_at, line.value): line for line in one.evidence if line.rule != NEWEST}
        rows.append((
            Raw(moment(one.at)), one.state, Raw(f'<span class="badge">{escape(one.severity)}</span>'),
            words(one.reason), "-" if one.score is None else f"{one.score:.2f}",
            "; ".join(_new([line for key, line in lines.items() if key not in before])),
        ))  # fmt: skip
        before |= lines.keys()
    left = f"<p>The first {MOST_ROWS} of {len(rows)}; alerts.parquet has all.</p>" if len(rows) > MOST_ROWS else ""
    head = ("time", "step", "severity", "why", "score", "new evidence")
    return (
        f"<details{' open' if len(rows) <= 12 else ''}><summary>Course of the alert, {len(rows)} records</summary>"
        f"{left}{wide(table(head, rows[:MOST_ROWS]), 'course of the alert')}</details>"
    )


def _new(lines: Sequence[Evidence]) -> Iterator[str]:
    for line in lines[:MOST_NEW]:
        value = "" if line.value is None else f" {line.value:g} {line.unit or ''}".rstrip()
        yield f"{line.signal}{value} ({line.rule})"
    if len(lines) > MOST_NEW:
        yield f"and {len(lines) - MOST_NEW} more"


def _laboratory(course: StayCourse, catalogue: Catalogue) -> str:
    """Results by the time they were drawn, newest first; H and L mark what lies outside its reference range."""
    names = [name for name in course.readings if catalogue.signals[name].is_lab]
    cells: dict[int, dict[str, str]] = {}
    for name in names:
        low, high = _reference(catalogue.signals[name], course)
        for one in course.readings[name]:
            mark = (
                " H" if high is not None and one.value > high else " L" if low is not None and one.value < low else ""
            )
            row = cells.setdefault(one.at, {})
            row[name] = f"{row[name]}; {one.value:g}{mark}" if name in row else f"{one.value:g}{mark}"
    times = sorted(cells, reverse=True)
    rows = [(Raw(moment(rfc3339(at))), *(cells[at].get(name, "") for name in names)) for at in times[:MOST_ROWS]]
    left = f"<p>The newest {MOST_ROWS} of {len(times)}.</p>" if len(times) > MOST_ROWS else ""
    head = ("drawn", *(f"{name}, {catalogue.signals[name].unit}" for name in names))
    return left + table(head, rows)


def _events(course: StayCourse) -> Iterator[Sequence[object]]:
    for one in sorted(course.events, key=lambda each: (each.at, each.available_at))[-MOST_ROWS:]:
        what, detail = ("pump", _said_of_pump(one)) if isinstance(one, Pump) else (words(one.kind), one.detail or "")
        yield Raw(moment(rfc3339(one.at))), Raw(moment(rfc3339(one.available_at))), what, words(one.event), detail


def _not_drawn(course: StayCourse) -> Iterable[Sequence[object]]:
    return ((name, words(why), count) for (name, why), count in sorted(course.not_drawn.items()))


def _references(course: StayCourse, catalogue: Catalogue) -> Iterator[Sequence[object]]:
    for name in course.readings:
        signal = catalogue.signals[name]
        low, high = _reference(signal, course)
        if signal.reference is not None:
            yield signal.title, f"{range_text(low, high)} {signal.unit.strip('{}')}", signal.reference.source


def _day(at: int) -> str:
    return rfc3339(at)[:16].replace("T", " ")
