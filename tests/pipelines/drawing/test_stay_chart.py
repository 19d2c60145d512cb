"""The picture of a stay says without colour what it shows, and loses no extreme."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest

from detector.clock import HOUR
from pipelines.drawing.stay_chart import (
    MOST_POINTS,
    Chart,
    Course,
    Happening,
    Mark,
    Point,
    Step,
    Track,
    hour_labels,
    stay_chart,
    thinned,
)

HOT = Track(
    "temp", "body temperature", "Cel", [Point(0, 36.5), Point(HOUR, 41.2), Point(9 * HOUR, 37)], 36.1, 38, 2 * HOUR
)


def drawn(**parts: object) -> ET.Element:
    return ET.fromstring(stay_chart(Chart("a stay", 0, 10 * HOUR, [(0, ("0 h",))], **parts)))  # type: ignore[arg-type]


def of_class(tree: ET.Element, name: str) -> list[ET.Element]:
    return [one for one in tree.iter() if name in one.get("class", "").split()]


def test_a_reference_range_is_a_band_and_words() -> None:
    tree = drawn(tracks=[HOT])
    (band,) = of_class(tree, "band")
    points = [float(dot.get("cy", "")) for dot in of_class(tree, "dot")]
    top, height = float(band.get("y", "")), float(band.get("height", ""))

    assert "Cel, ref. 36.1 to 38" in [one.text for one in tree.iter("text")]
    assert [True, False, True] == [top <= y <= top + height for y in points]


def test_a_signal_without_a_range_has_no_band() -> None:
    assert [] == of_class(drawn(tracks=[Track("x", "x", "1", [Point(0, 1)])]), "band")


def test_the_line_is_dotted_where_the_reading_before_had_gone_stale() -> None:
    tree = drawn(tracks=[HOT])

    assert 1 == of_class(tree, "stale")[0].get("d", "").count("M")
    assert 2 == of_class(tree, "line")[0].get("d", "").count("M")


def test_evidence_is_ringed_and_nothing_else() -> None:
    assert 1 == len(
        of_class(drawn(tracks=[HOT], cited={("temp", HOUR, 41.2), ("hr", 0, 36.5), ("temp", 0, 36.6)}), "ring")
    )


def test_a_reading_of_the_skin_is_hollow_and_not_joined() -> None:
    tree = drawn(tracks=[Track("temp", "t", "Cel", [Point(0, 37), Point(HOUR, 33, apart=True), Point(2 * HOUR, 37)])])

    assert 1 == len(of_class(tree, "apart"))
    assert 2 == len(of_class(tree, "dot"))


def test_an_alert_is_a_strip_as_high_as_its_severity_and_a_word() -> None:
    steps = [
        Step(HOUR, "watch", "opened", asks=True), Step(3 * HOUR, "critical", "raised", asks=True),
        Step(4 * HOUR, "critical", "amended", asks=False), Step(8 * HOUR, "critical", "resolved", asks=False),
    ]  # fmt: skip
    tree = drawn(tracks=[HOT], courses=[Course("1 itb withdrawal", steps)])
    watch, critical = ([float(one.get(name, "")) for name in ("x", "width", "height")]
                       for severity in ("watch", "critical") for one in tree.iter("rect") if one.get("class") == severity)  # fmt: skip

    assert watch[2] * 2 == critical[2]
    assert critical[1] == pytest.approx(2.5 * watch[1], abs=0.2), "from 3 h until it was resolved, in one piece"
    assert {"1 itb withdrawal", "watch", "critical", "resolved"} <= {one.text for one in tree.iter("text")}
    assert 2 == len(of_class(tree, "said")), "a line for each record that asks for attention"


def test_what_lasted_is_a_bar_and_what_happened_is_a_diamond_and_what_lies_outside_is_not_there() -> None:
    happened = [
        Happening("pump", HOUR, None, "alarm"),
        Happening("vasopressor", 0, 5 * HOUR, "x"),
        Happening("fall", -9, None, ""),
    ]
    tree = drawn(happenings=happened)

    assert ["path", "rect"] == [one.tag for one in of_class(tree, "happened")]
    assert "fall" not in [one.text for one in tree.iter("text")]


def test_a_wide_signal_that_only_matters_upwards_is_logarithmic_and_says_so() -> None:
    points = [Point(0, 100), Point(HOUR, 250_000)]
    up, down = (drawn(tracks=[Track("ck", "CK", "U/L", points, only_up=one)]) for one in (True, False))

    assert ["U/L, log scale"] == [one.text for one in up.iter("text") if one.text and one.text.startswith("U/L")]
    assert ["U/L"] == [one.text for one in down.iter("text") if one.text and one.text.startswith("U/L")]


def test_a_value_of_zero_has_a_place_on_a_logarithmic_scale() -> None:
    tree = drawn(
        tracks=[Track("ck", "CK", "U/L", [Point(0, 0), Point(HOUR, 5), Point(HOUR, 50_000)], 0, 10, only_up=True)]
    )

    assert 3 == len(of_class(tree, "dot"))


def test_of_very_many_readings_the_extremes_of_each_pixel_stay() -> None:
    many = [(number / 100, Point(number, 80 + number % 7)) for number in range(20 * MOST_POINTS)]
    many[1234] = (12.34, Point(1234, 250))
    many[4321] = (43.21, Point(4321, 20))
    kept = thinned(many)

    assert len(kept) <= 4 * len({int(x) for x, _ in many})
    assert {(12.34, Point(1234, 250)), (43.21, Point(4321, 20))} <= set(kept)
    assert kept == sorted(kept)


def test_every_name_is_escaped() -> None:
    bad = "<b>&\"'</b>"
    tree = drawn(
        tracks=[Track(bad, bad, bad, [Point(0, 1)])], happenings=[Happening(bad, 0, None, bad)], marks=[Mark(0, bad)],
        courses=[Course(bad, [Step(0, "watch", bad, asks=True)])],
    )  # fmt: skip

    assert not list(tree.iter("b"))
    assert 6 == sum(one.text == bad for one in tree.iter("text"))


@pytest.mark.parametrize(("hours", "count"), [(1, 2), (8, 9), (50, 5), (24 * 90, 7)])
def test_the_axis_has_round_hours_and_not_too_many(hours: int, count: int) -> None:
    labels = hour_labels(0, hours * HOUR, 0, lambda at: (f"{at / HOUR:g}",))

    assert count == len(labels)
    assert ("0",) == labels[0][1]


def test_the_axis_counts_from_the_admission_to_both_sides() -> None:
    assert [-HOUR, 0, HOUR] == [at for at, _ in hour_labels(-HOUR - 1, HOUR + 1, 0, lambda _: ())]
