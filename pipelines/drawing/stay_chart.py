"""One stay as a picture: alerts, events and signals over one axis of time, as static SVG.

Read without colour: a severity is a height and a word, a reference range is a band between two lines, evidence is a
ringed reading, a value that had gone stale is a dotted line. Times are ms UTC; every text is escaped.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from html import escape
from math import floor, log10
from typing import NamedTuple

from detector.clock import HOUR
from detector.records import SEVERITIES
from pipelines.drawing.plots import ticks

STYLE = """
svg.stay { font-family: system-ui, sans-serif; }
svg.stay .small { font-size: 10px; } svg.stay .name { font-weight: 600; }
svg.stay .grid { stroke: currentColor; stroke-opacity: .18; } svg.stay .edge { stroke: currentColor; stroke-opacity: .45; stroke-dasharray: 1 3; }
svg.stay .band { fill: #2e8b57; fill-opacity: .16; } svg.stay .line { fill: none; stroke: currentColor; stroke-width: 1.2; }
svg.stay .stale { fill: none; stroke: currentColor; stroke-opacity: .5; stroke-dasharray: 1 3; }
svg.stay .dot { fill: currentColor; } svg.stay .apart { fill: none; stroke: currentColor; stroke-opacity: .7; }
svg.stay .ring { fill: none; stroke: #c53030; stroke-width: 1.8; } svg.stay .said { stroke-width: 1.2; stroke-dasharray: 5 3; }
svg.stay .happened { fill: #3f6f9f; fill-opacity: .55; stroke: currentColor; stroke-opacity: .5; }
svg.stay line.info { stroke: #5b7083; } svg.stay line.watch { stroke: #2b6cb0; }
svg.stay line.warning { stroke: #b7791f; } svg.stay line.critical { stroke: #c53030; }
@media print { svg.stay { max-height: 225mm; break-inside: avoid; } }
"""

WIDTH, LEFT, RIGHT = 1100, 190, 52
AXIS, LANE, EVENT, ROW, GAP = 34, 46, 17, 62, 16
MOST_POINTS = 1400
"""Of a line: two a pixel. Beyond, the highest and the lowest of each pixel stand for the others, so no extreme is lost."""
LOGARITHMIC_FROM = 30.0
"""A signal that only matters upwards is drawn on a logarithmic scale when its largest value is so many times its least."""


class Point(NamedTuple):
    """A reading. ``apart`` = it is not joined to the others (a temperature of the skin)."""

    at: int
    value: float
    apart: bool = False


@dataclass(frozen=True)
class Track:
    """One signal. ``low`` and ``high`` bound its reference range (None = open), ``stale_after`` is in ms."""

    name: str
    title: str
    unit: str
    points: Sequence[Point]
    low: float | None = None
    high: float | None = None
    stale_after: int = 0
    only_up: bool = False


class Happening(NamedTuple):
    """Something in a lane of its own: from ``start`` to ``end``, at one instant when ``end`` is None."""

    lane: str
    start: int
    end: int | None
    words: str


class Step(NamedTuple):
    """One record of an alert. ``asks`` = it opened or rose: a line goes through every signal there."""

    at: int
    severity: str
    state: str
    asks: bool


class Course(NamedTuple):
    """One alert by its records, in their order."""

    name: str
    steps: Sequence[Step]


class Mark(NamedTuple):
    """A dashed line through everything, with its name at the foot."""

    at: int
    name: str


@dataclass(frozen=True)
class Chart:
    """What is to be drawn from ``start`` to ``end``. ``labels`` are the ticks of the axis, one line of text or two.

    ``cited``: (signal, time, value) of the readings that an alert cites.
    """

    title: str
    start: int
    end: int
    labels: Sequence[tuple[int, Sequence[str]]]
    tracks: Sequence[Track] = ()
    happenings: Sequence[Happening] = ()
    courses: Sequence[Course] = ()
    marks: Sequence[Mark] = ()
    cited: Collection[tuple[str, int, float]] = field(default_factory=frozenset)


def stay_chart(chart: Chart) -> str:
    """The picture; its words are in the ``<title>`` elements, too, for those who listen."""
    scale = (WIDTH - LEFT - RIGHT) / max(chart.end - chart.start, 1)

    def px(at: int) -> float:
        return LEFT + scale * (min(max(at, chart.start), chart.end) - chart.start)

    happened = [one for one in chart.happenings if _within(one, chart)]
    lanes = list(dict.fromkeys(one.lane for one in happened))
    strips = AXIS
    events = strips + LANE * len(chart.courses) + (8 if chart.courses else 0)
    signals = events + EVENT * len(lanes) + (GAP if lanes else 4)
    foot = signals + (ROW + GAP) * len(chart.tracks)
    height = foot + 6 + 13 * len(chart.marks)
    parts = [f"<title>{escape(chart.title)}</title>", *_axis(chart, px, foot)]
    for row, track in enumerate(chart.tracks):
        parts.append(_track(track, chart.cited, px, signals + row * (ROW + GAP)))
    for row, lane in enumerate(lanes):
        parts.append(_lane(lane, [one for one in happened if one.lane == lane], px, events + row * EVENT))
    for row, course in enumerate(chart.courses):
        parts.append(_course(course, chart, px, strips + row * LANE, foot - GAP))
    for row, mark in enumerate(chart.marks):
        x, y = px(mark.at), foot + 12 + 13 * row
        parts.append(
            f'<line class="edge" x1="{x:.1f}" x2="{x:.1f}" y1="{AXIS}" y2="{y - 8}"/>'
            f'<text class="small" {_beside(x)} y="{y}">{escape(mark.name)}</text>'
        )
    return (
        f'<svg class="stay" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img">'
        f"{''.join(parts)}</svg>"
    )


def _within(one: Happening, chart: Chart) -> bool:
    return one.start <= chart.end and (one.end if one.end is not None else one.start) >= chart.start


def _axis(chart: Chart, px: Callable[[int], float], foot: float) -> Iterator[str]:
    for at, lines in chart.labels:
        x = px(at)
        yield f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{AXIS - 6}" y2="{foot - GAP + 4}"/>'
        for number, line in enumerate(lines):
            yield f'<text class="small" x="{x:.1f}" y="{11 + 12 * number}" text-anchor="middle">{escape(line)}</text>'


def _course(course: Course, chart: Chart, px: Callable[[int], float], top: float, foot: float) -> str:
    """The height of the strip is the severity; a line goes down from each record that asks for attention."""
    base = top + LANE - 6
    parts = [f'<text class="name" x="0" y="{base - 4}">{escape(course.name)}</text>']
    for severity, start, end in _runs(course, chart.end):
        x, height = px(start), 6.0 * SEVERITIES[severity]
        parts.append(
            f'<rect class="{escape(severity)}" x="{x:.1f}" y="{base - height:.1f}" width="{max(px(end) - x, 1.5):.1f}" height="{height:.1f}"/>'
        )
    for step in course.steps:
        x = px(step.at)
        said = f"{step.severity}, {step.state}"
        parts.append(
            f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{base}" y2="{base + 5}" stroke="currentColor"><title>{escape(said)}</title></line>'
        )
        if step.asks:
            parts.append(
                f'<line class="said {escape(step.severity)}" x1="{x:.1f}" x2="{x:.1f}" y1="{base + 5}" y2="{foot:.1f}"/>'
            )
    parts += _severities(course, px, base - 6 * max(SEVERITIES.values()) - 2)
    return f"<g>{''.join(parts)}</g>"


def _runs(course: Course, end: int) -> list[tuple[str, int, int]]:
    """(severity, from, to) of each time at one severity, until the alert was resolved."""
    runs: list[tuple[str, int, int]] = []
    for step, until in zip(course.steps, [*(one.at for one in course.steps[1:]), end], strict=True):
        if step.state == "resolved":
            continue
        if runs and runs[-1][0] == step.severity and runs[-1][2] == step.at:
            runs[-1] = (step.severity, runs[-1][1], until)
        else:
            runs.append((step.severity, step.at, until))
    return runs


def _severities(course: Course, px: Callable[[int], float], y: float) -> Iterator[str]:
    """The words over a strip where there is room for them, the most severe first."""
    taken: list[tuple[float, float]] = []
    told = [one for one in course.steps if one.asks or one.state in ("lowered", "resolved")]
    for step in sorted(told, key=lambda one: (one.state == "resolved", -SEVERITIES[one.severity], one.at)):
        word = "resolved" if step.state == "resolved" else step.severity
        x, width = px(step.at), 6.0 * len(word)
        start, end = (x, x + width) if _has_room(x) else (x - width, x)
        if all(end < low or start > high for low, high in taken):
            taken.append((start, end))
            yield f'<text class="small" {_beside(x)} y="{y:.1f}">{escape(word)}</text>'


def _lane(lane: str, happenings: Sequence[Happening], px: Callable[[int], float], top: float) -> str:
    """Bars for what lasted, diamonds for what happened at one instant; words where there is room."""
    middle = top + EVENT / 2
    parts = [
        f'<text x="0" y="{middle + 4}">{escape(lane)}</text>',
        f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{middle}" y2="{middle}"/>',
    ]
    free = 0.0
    for one in sorted(happenings, key=lambda each: each.start):
        x = px(one.start)
        shape = (
            f'<path class="happened" d="M{x:.1f} {middle - 5}l5 5l-5 5l-5 -5z"/>'
            if one.end is None
            else f'<rect class="happened" x="{x:.1f}" y="{middle - 5}" width="{max(px(one.end) - x, 2):.1f}" height="10"/>'
        )
        parts.append(f"<g><title>{escape(one.words)}</title>{shape}</g>")
        if x + 8 >= free and one.words:
            shown = one.words if len(one.words) <= 32 else one.words[:31] + "…"
            parts.append(f'<text class="small" {_beside(x, 8)} y="{middle + 4}">{escape(shown)}</text>')
            free = x + 14 + 5.4 * len(shown)
    return f"<g>{''.join(parts)}</g>"


def _track(track: Track, cited: Collection[tuple[str, int, float]], px: Callable[[int], float], top: float) -> str:
    values = [point.value for point in track.points]
    ends = [end for end in (track.low, track.high) if end is not None]
    least, most = min([*values, *ends]), max([*values, *ends])
    positive = [value for value in (*values, *ends) if value > 0]
    logarithmic = track.only_up and bool(positive) and max(values) >= LOGARITHMIC_FROM * min(positive)
    floor_at = min(positive) if positive else 1.0

    def level(value: float) -> float:
        return log10(max(value, floor_at)) if logarithmic else value

    low, high = level(least), level(most)
    room = (high - low) or 1.0

    def py(value: float) -> float:
        return top + 3 + (ROW - 6) * (1 - (level(value) - low) / room)

    reference = range_text(track.low, track.high)
    parts = [
        f'<text class="name" x="0" y="{top + 14}">{escape(track.title)}</text>',
        f'<text class="small" x="0" y="{top + 28}">{escape(track.unit)}{", log scale" if logarithmic else ""}{f", ref. {reference}" if reference else ""}</text>',
        f'<text class="small" x="0" y="{top + 42}">{_span(values)}</text>',
    ]
    if ends:
        above, below = (
            (py(track.high) if track.high is not None else top),
            (py(track.low) if track.low is not None else top + ROW),
        )
        parts.append(
            f'<rect class="band" x="{LEFT}" y="{above:.1f}" width="{WIDTH - LEFT - RIGHT}" height="{max(below - above, 1):.1f}"/>'
        )
        parts += [
            f'<line class="edge" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{py(end):.1f}" y2="{py(end):.1f}"/>'
            for end in ends
        ]
    for value in _levels(least, most, floor_at, logarithmic=logarithmic):
        parts.append(f'<text class="small" x="{WIDTH - RIGHT + 6}" y="{py(value) + 3.5:.1f}">{value:g}</text>')
    joined = thinned([(px(one.at), one) for one in track.points if not one.apart])
    parts += _lines(joined, track.stale_after, py)
    size = 2.2 if len(joined) <= 120 else 1.4
    if len(joined) <= 500:
        parts += [f'<circle class="dot" cx="{x:.1f}" cy="{py(one.value):.1f}" r="{size}"/>' for x, one in joined]
    parts += [
        f'<circle class="apart" cx="{x:.1f}" cy="{py(one.value):.1f}" r="2"/>'
        for x, one in thinned([(px(one.at), one) for one in track.points if one.apart])
    ]
    for one in track.points:
        if (track.name, one.at, one.value) in cited:
            parts.append(
                f'<circle class="ring" cx="{px(one.at):.1f}" cy="{py(one.value):.1f}" r="4.5"><title>{escape(track.title)} {one.value:g} {escape(track.unit)}, cited as evidence</title></circle>'
            )
    return f"<g><title>{escape(f'{track.title}, {_span(values)} {track.unit}')}</title>{''.join(parts)}</g>"


def thinned(points: Sequence[tuple[float, Point]]) -> list[tuple[float, Point]]:
    """The points, or of very many the first, highest, lowest and last of each pixel, in the order of time."""
    if len(points) <= MOST_POINTS:
        return list(points)
    columns: dict[int, list[int]] = {}
    for number, (x, _) in enumerate(points):
        columns.setdefault(floor(x), []).append(number)
    kept: list[int] = []
    for numbers in columns.values():
        extremes = (min(numbers, key=lambda n: points[n][1].value), max(numbers, key=lambda n: points[n][1].value))
        kept += sorted({numbers[0], *extremes, numbers[-1]})
    return [points[number] for number in kept]


def hour_labels(
    start: int, end: int, origin: int, name: Callable[[int], Sequence[str]]
) -> list[tuple[int, Sequence[str]]]:
    """Ticks at round hours after ``origin``, about eight of them; ``name`` writes an instant (ms)."""
    most = 8
    hours = max((end - start) / HOUR, 1.0)
    step = next(
        (one for one in (1, 2, 3, 6, 12, 24, 48, 96, 168, 336) if hours / one <= most), ceil_to(hours / most, 336)
    )
    first = -((origin - start) // (step * HOUR))
    every = range(first, int((end - origin) // (step * HOUR)) + 1)
    return [(origin + number * step * HOUR, name(origin + number * step * HOUR)) for number in every]


def range_text(low: float | None, high: float | None) -> str:
    """A range in words; an end that is None is open."""
    if low is not None and high is not None:
        return f"{low:g}" if low == high else f"{low:g} to {high:g}"
    if high is not None:
        return f"up to {high:g}"
    return f"from {low:g}" if low is not None else ""


def ceil_to(value: float, unit: int) -> int:
    """The first whole multiple of ``unit`` not below ``value``."""
    return unit * -int(-value // unit)


def _lines(points: Sequence[tuple[float, Point]], stale_after: int, py: Callable[[float], float]) -> Iterator[str]:
    """The line through the readings, dotted where the reading before had gone stale."""
    solid: list[str] = []
    dotted: list[str] = []
    for number, (x, one) in enumerate(points):
        y = py(one.value)
        if number:
            before_x, before = points[number - 1]
            if one.at - before.at > stale_after > 0:
                dotted.append(f"M{before_x:.1f} {py(before.value):.1f}L{x:.1f} {y:.1f}")
                solid.append(f"M{x:.1f} {y:.1f}")
                continue
        solid.append(f"{'L' if number else 'M'}{x:.1f} {y:.1f}")
    if solid:
        yield f'<path class="line" d="{"".join(solid)}"/>'
    if dotted:
        yield f'<path class="stale" d="{"".join(dotted)}"/>'


def _levels(least: float, most: float, floor_at: float, *, logarithmic: bool) -> list[float]:
    if not logarithmic:
        return ticks(least, most, 3)
    powers = range(floor(log10(floor_at)), floor(log10(most)) + 1)
    return [10.0**power for power in powers if 10.0**power >= floor_at]


def _span(values: Sequence[float]) -> str:
    least, most = min(values), max(values)
    return f"{least:g}" if least == most else f"{least:g} to {most:g}"


def _beside(x: float, by: float = 2) -> str:
    """Text right of a place, or left of it near the right edge, so that it is not cut."""
    return f'x="{x + by:.1f}"' if _has_room(x) else f'x="{x - by:.1f}" text-anchor="end"'


def _has_room(x: float) -> bool:
    return x < WIDTH - RIGHT - 60
