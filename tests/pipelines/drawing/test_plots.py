"""Plots are plain SVG in which every text is escaped."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest

from pipelines.drawing.plots import Bar, Line, Mark, interval_bars, line_plot, ticks


@pytest.mark.parametrize(
    ("low", "high", "found"),
    [(0, 12, [0, 5, 10]), (0, 100, [0, 20, 40, 60, 80, 100]), (-20, 30, [-20, -10, 0, 10, 20, 30]), (3, 3, [3])],
)
def test_ticks_are_round_numbers_inside(low: float, high: float, found: list[float]) -> None:
    assert found == ticks(low, high)


def test_a_plot_is_well_formed_whatever_its_names_hold() -> None:
    lines = [Line("<b>&\"'", [(0, 0), (1, 50), (40, 80)], step=True), Line("empty", [])]
    tree = ET.fromstring(line_plot(lines, [Mark("us", 3, 90, 80, 95)], x="x", y="<y>", x_end=12))

    assert ["<b>&\"'", "empty", "us"] == [element.text for element in tree.iter("text")][-3:]


def test_bars_without_a_figure_show_none() -> None:
    tree = ET.fromstring(interval_bars([Bar("a", None, None, None, "-"), Bar("b", 50, 40, 60, "50 %")], end=100))

    assert (1, 1) == (len(list(tree.iter("rect"))), len(list(tree.iter("line"))))
