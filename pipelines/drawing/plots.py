"""Plots as static SVG, drawn here so that a report needs no library, no script and no outside address.

Colours are from Okabe and Ito (2008), told apart with the usual colour blindness; lines also differ in their dashes.
Every text is escaped. Numbers are in the units of the axes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from math import ceil, floor, log10
from typing import NamedTuple

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c7f00", "#7f7f7f")
DASHES = ("", "6 3", "2 3", "8 3 2 3")
LEFT, RIGHT, TOP, BOTTOM = 56, 14, 12, 40


class Line(NamedTuple):
    """A line through ``points``; ``step`` draws it as a staircase, ``bold`` thicker."""

    name: str
    points: Sequence[tuple[float, float]]
    step: bool = False
    bold: bool = False


class Mark(NamedTuple):
    """A point with its vertical interval. ``low`` None = no interval."""

    name: str
    x: float
    y: float
    low: float | None = None
    high: float | None = None


class Bar(NamedTuple):
    """A value with its interval, in one row. None = nothing to show."""

    name: str
    value: float | None
    low: float | None
    high: float | None
    shown: str


def line_plot(
    lines: Sequence[Line], marks: Sequence[Mark] = (), *, x: str, y: str, x_end: float, y_end: float = 100.0,
    width: int = 620, height: int = 300,
) -> str:  # fmt: skip
    """Lines and marks over axes from zero, with a legend below."""
    inner_w, inner_h = width - LEFT - RIGHT, height - TOP - BOTTOM

    def px(value: float) -> float:
        return LEFT + inner_w * min(value, x_end) / x_end

    def py(value: float) -> float:
        return TOP + inner_h * (1 - min(value, y_end) / y_end)

    drawn = [_axes(inner_w, inner_h, x, y, x_end, y_end)]
    legend: list[tuple[str, str]] = []
    for number, line in enumerate(lines):
        stroke = f'stroke="{COLOURS[number % len(COLOURS)]}" stroke-width="{2.6 if line.bold else 1.4}"' + _dash(
            number // len(COLOURS)
        )
        points = [(px(a), py(b)) for a, b in line.points if a <= x_end]
        drawn.append(
            f'<path d="{_path(points, step=line.step)}" fill="none" {stroke}><title>{escape(line.name)}</title></path>'
        )
        legend.append((line.name, f'<line x1="0" y1="-4" x2="22" y2="-4" {stroke}/>'))
    for number, mark in enumerate(marks):
        colour = "currentColor" if len(marks) == 1 else COLOURS[number % len(COLOURS)]
        if mark.low is not None and mark.high is not None:
            drawn.append(
                f'<line x1="{px(mark.x):.1f}" x2="{px(mark.x):.1f}" y1="{py(mark.low):.1f}" y2="{py(mark.high):.1f}" stroke="{colour}" stroke-width="1.5"/>'
            )
        diamond = _diamond(px(mark.x), py(mark.y), colour)
        drawn.append(f"<g>{diamond}<title>{escape(mark.name)}: {mark.x:.2f}, {mark.y:.0f}</title></g>")
        legend.append((mark.name, _diamond(11, -4, colour)))
    return _svg(width, height + 18 * ceil(len(legend) / 3), "".join(drawn) + _legend(legend, height, width))


def interval_bars(bars: Sequence[Bar], *, end: float, width: int = 620) -> str:
    """One row a bar, with its interval as a line and its figure as text."""
    left, right, step = 190, 150, 20
    scale = (width - left - right) / end if end else 0.0
    drawn = []
    for row, bar in enumerate(bars):
        y = row * step
        drawn.append(f'<text x="0" y="{y + 14}">{escape(bar.name)}</text>')
        if bar.value is not None:
            drawn.append(
                f'<rect x="{left}" y="{y + 4}" width="{scale * min(bar.value, end):.1f}" height="{step - 8}" fill="{COLOURS[0]}" fill-opacity="0.55"/>'
            )
        if bar.low is not None and bar.high is not None:
            a, b = left + scale * min(bar.low, end), left + scale * min(bar.high, end)
            drawn.append(
                f'<line x1="{a:.1f}" x2="{b:.1f}" y1="{y + step / 2}" y2="{y + step / 2}" stroke="currentColor" stroke-width="1.5"/>'
            )
        drawn.append(f'<text x="{width - right + 8}" y="{y + 14}">{escape(bar.shown)}</text>')
    return _svg(width, max(1, len(bars)) * step + 4, "".join(drawn))


def stacked_bars(bars: Mapping[str, Mapping[str, float]], order: Sequence[str], width: int = 720) -> str:
    """One row a label: its parts by name, in ``order`` and coloured by it, with their sum as text."""
    if not any(sum(parts.values()) for parts in bars.values()):
        return "<p>None.</p>"
    left, right, step = 150, 60, 22
    longest = max(sum(parts.values()) for parts in bars.values())
    drawn = []
    for row, (label, parts) in enumerate(bars.items()):
        x, y = float(left), row * step
        shown = label if len(label) <= 22 else label[:21] + "…"
        drawn.append(f'<text x="0" y="{y + 15}"><title>{escape(label)}</title>{escape(shown)}</text>')
        for name in order:
            length = (width - left - right) * parts.get(name, 0) / longest
            if length:
                drawn.append(
                    f'<rect class="{escape(name)}" x="{x:.1f}" y="{y + 3}" width="{length:.1f}" height="{step - 6}"><title>{escape(name)}: {parts[name]:.4g}</title></rect>'
                )
            if length > 7 * len(name):
                drawn.append(f'<text class="on" x="{x + 4:.1f}" y="{y + 15}">{escape(name)}</text>')
            x += length
        drawn.append(f'<text x="{x + 6:.1f}" y="{y + 15}">{sum(parts.values()):.4g}</text>')
    return _svg(width, len(bars) * step, "".join(drawn))


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers within [low, high], about so many."""
    if high <= low:
        return [low]
    raw = (high - low) / about
    unit = 10 ** floor(log10(raw))
    step = next(unit * factor for factor in (1, 2, 5, 10) if unit * factor >= raw)
    first = ceil(low / step - 1e-9)
    return [round(k * step, 10) for k in range(first, floor(high / step + 1e-9) + 1)]


def _axes(inner_w: int, inner_h: int, x: str, y: str, x_end: float, y_end: float) -> str:
    drawn = []
    for value in ticks(0, x_end, 6):
        at = LEFT + inner_w * value / x_end
        drawn.append(
            f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{TOP}" y2="{TOP + inner_h}" stroke="currentColor" stroke-opacity="0.15"/><text x="{at:.1f}" y="{TOP + inner_h + 15}" text-anchor="middle">{value:g}</text>'
        )
    for value in ticks(0, y_end, 5):
        at = TOP + inner_h * (1 - value / y_end)
        drawn.append(
            f'<line x1="{LEFT}" x2="{LEFT + inner_w}" y1="{at:.1f}" y2="{at:.1f}" stroke="currentColor" stroke-opacity="0.15"/><text x="{LEFT - 6}" y="{at + 4:.1f}" text-anchor="end">{value:g}</text>'
        )
    middle = TOP + inner_h / 2
    drawn.append(f'<text x="{LEFT + inner_w / 2}" y="{TOP + inner_h + 32}" text-anchor="middle">{escape(x)}</text>')
    drawn.append(
        f'<text x="12" y="{middle}" text-anchor="middle" transform="rotate(-90 12 {middle})">{escape(y)}</text>'
    )
    return "".join(drawn)


def _path(points: Sequence[tuple[float, float]], *, step: bool) -> str:
    parts: list[str] = []
    for number, (a, b) in enumerate(points):
        if number == 0:
            parts.append(f"M{a:.1f} {b:.1f}")
        elif step:
            parts.append(f"H{a:.1f}V{b:.1f}")
        else:
            parts.append(f"L{a:.1f} {b:.1f}")
    return "".join(parts)


def _dash(number: int) -> str:
    dash = DASHES[number % len(DASHES)]
    return f' stroke-dasharray="{dash}"' if dash else ""


def _diamond(x: float, y: float, colour: str) -> str:
    return f'<path d="M{x:.1f} {y - 6:.1f}l6 6l-6 6l-6 -6z" fill="{colour}"/>'


def _legend(entries: Iterable[tuple[str, str]], top: int, width: int) -> str:
    column = (width - LEFT) / 3
    return "".join(
        f'<g transform="translate({LEFT + column * (number % 3):.0f} {top + 10 + 18 * (number // 3)})">{symbol}<text x="28" y="0">{escape(name)}</text></g>'
        for number, (name, symbol) in enumerate(entries)
    )


def _svg(width: int, height: float, inside: str) -> str:
    return f'<svg viewBox="0 0 {width} {height:.0f}" width="{width}" height="{height:.0f}" role="img">{inside}</svg>'
