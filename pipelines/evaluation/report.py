"""The report of an evaluation: one HTML file without any outside address or script, for people who were not there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from pipelines.drawing.page import page, section, table, words
from pipelines.drawing.plots import Bar, Line, Mark, interval_bars, line_plot
from pipelines.drawing.stay_chart import STYLE
from pipelines.evaluation.counting import TIERS
from pipelines.evaluation.intervals import Figure
from pipelines.evaluation.run import Evaluation
from pipelines.evaluation.timelines import Chosen, timeline
from pipelines.evaluation.truth import SEVERITIES
from pipelines.web.alert_html import DISCLAIMER

OWN_STYLE = """
.timeline { border-top: 1px solid #8884; padding-top: .6rem; margin-top: 1.2rem; }
"""
BURDEN_SHOWN = 12.0
"""Warnings per 100 patient-days at which the axis of the curves ends."""


def report_html(evaluation: Evaluation, shown: Sequence[Chosen]) -> str:
    """The whole page; ``shown`` are the stays drawn one by one."""
    result = evaluation.result
    product = result["product"]
    return page(
        "itbwatch evaluation",
        f"<h1>itbwatch: evaluation on {escape(', '.join(result['run']['cohorts']))}</h1>"
        f'<p class="notice">{DISCLAIMER}</p>{_synthetic(result["run"])}'
        + section("What was run", table(("", ""), _facts(result)))
        + section("How it was counted", _counting(result["counting"]))
        + section("Courses found", _recall(product))
        + section("What it costs", _burden(product))
        + section("Look-alikes", _look_alikes(product))
        + section("PPV and workload", _value(product))
        + (section("Tuned to a budget", _tuned(result["tuned"])) if "tuned" in result else "")
        + section("Sensitivity against burden, with the peers", _curves(result))
        + section("Delay from the first visible sign", _delays(product))
        + section("The same burden, product against peers", _against(result))
        + (section("Ablation", _ablation(result["ablation"])) if "ablation" in result else "")
        + section("By tone, data set, generator and kind", _groups(product))
        + section("Single stays", "".join(timeline(one, evaluation.stays, evaluation.readings, evaluation.records, evaluation.catalogue) for one in shown)),
        OWN_STYLE + STYLE,
    )  # fmt: skip


def percent(figure: Figure | None) -> str:
    """A share as "83 % (70 to 91, 25/30)"."""
    if figure is None or figure.value is None or figure.low is None or figure.high is None:
        return "-"
    return (
        f"{100 * figure.value:.0f} % ({100 * figure.low:.0f} to {100 * figure.high:.0f}; {figure.hits}/{figure.of:g})"
    )


def number(figure: Figure | None) -> str:
    """A rate or a median as "1.23 (0.98 to 1.51)"."""
    if figure is None or figure.value is None or figure.low is None or figure.high is None:
        return "-"
    return f"{figure.value:.2f} ({figure.low:.2f} to {figure.high:.2f})"


def overall(rows: Iterable[Mapping[str, Any]], tier: str | None = None) -> list[Mapping[str, Any]]:
    """The rows of no group, of one tier where it is given."""
    return [row for row in rows if row.get("by") is None and (tier is None or row["tier"] == tier)]


def _synthetic(run: Mapping[str, Any]) -> str:
    courses = f"Every course of withdrawal and every look-alike is synthetic (generator: {', '.join(run['generators']) or 'not given'})"
    where = (
        "the stays they were put into are synthetic too"
        if run["synthetic_background"]
        else "put into stays of " + (", ".join(run["data_sets"]) or "a data set that was not named")
    )
    return (
        f'<p class="notice"><b>Synthetic courses.</b> {escape(courses)}; {escape(where)}. What is found here is what '
        "the generator thinks withdrawal looks like; no figure of this page says how many real patients would be found.</p>"
    )  # fmt: skip


def _facts(result: Mapping[str, Any]) -> Iterable[Sequence[object]]:
    run = result["run"]
    for name in ("cohorts", "data_sets", "generators"):
        yield words(name), ", ".join(run[name])
    for name in ("stays", "people", "background_stays", "courses", "look_alikes", "seed", "seconds"):
        yield words(name), run[name]
    yield "background patient-days", f"{run['background_days']:,.1f}"
    yield "plan", f"{run['plan_digest'][:16]}, rules {run['rules_version']}"
    yield "versions", ", ".join(f"{name} {text}" for name, text in run["versions"].items())


def _counting(counting: Mapping[str, float]) -> str:
    return (
        f"<p>A warning is an opened or raised record of warning or higher, at least {counting['refires_after_hours']:g} h "
        "after the last counted one of that stay; reminders are not counted. A score counts whenever it is at or above "
        "its threshold, with the same 12 h between. Patient-days run from the first to the last reading, at most to "
        f"discharge; burden is counted on stays without any course. A course is found from "
        f"{counting['before_visible_hours']:g} h before its first visible sign to the end of the stay or "
        f"{counting['after_restored_hours']:g} h after the infusion was restored, unless its twin (the same stay without "
        f"the course) warns within {counting['twin_within_hours']:g} h of the same time; a course found at a tier is found at every lower tier. Intervals are 95 %: Wilson for "
        "shares, bootstrap over people for rates and medians.</p>"
    )


def _recall(product: Mapping[str, Any]) -> str:
    rows = [
        (words(row["severity"]), row["tier"], percent(row["found"]), percent(row["found_gross"]), percent(row["twin_alone"]),
         number(row["delay_hours"]), number(row["lead_hours"]), percent(row["before_organ_failure"]))
        for row in overall(product["recall"])
    ]  # fmt: skip
    head = ("severity", "tier", "found", "with chance hits", "twin warns in that span", "delay, h (median)",
            "lead before organ failure, h", "warned before organ failure")  # fmt: skip
    bars = [
        Bar(f"{words(row['severity'])}, {row['tier']}", *_percents(row["found"]), percent(row["found"]))
        for row in overall(product["recall"]) if row["tier"] in TIERS
    ]  # fmt: skip
    return interval_bars(bars, end=100.0) + table(head, rows)


def _burden(product: Mapping[str, Any]) -> str:
    head = ("tier", "data set", "stays", "per 100 patient-days", "first of a stay per 100", "stays ever alerted",
            "share from the worst tenth of stays")  # fmt: skip
    rows = [
        (row["tier"], words(row["group"]) if row["by"] else "all", row["stays"], number(row["per_100_days"]),
         number(row["first_per_100_days"]), percent(row["ever"]), _share(row["share_of_worst_tenth"]))
        for row in product["burden"]
    ]  # fmt: skip
    return table(head, rows)


def _look_alikes(product: Mapping[str, Any]) -> str:
    rows = [
        (words(row["kind"]), row["tier"], row["stays"], number(row["per_100_days"]), percent(row["ever"]))
        for row in product["look_alikes"] if row["tier"] in TIERS
    ]  # fmt: skip
    return table(("kind", "tier", "stays", "per 100 patient-days", "stays ever alerted"), rows)


def _value(product: Mapping[str, Any]) -> str:
    rows = [
        (row["tier"], percent(row["ppv"]), _plain(row["warnings_per_course_found"]), _share(row["ppv_at_prevalence"]),
         _plain(row["warnings_per_course_found_at_prevalence"]))
        for row in product["value"]
    ]  # fmt: skip
    share = f"{100 * product['value'][0]['prevalence']:g} %" if product["value"] else "-"
    return table(("tier", "PPV by stay, cohort as made", "warnings per course found", f"PPV where {share} of stays have one",
                   f"warnings per course found, {share}"), rows)  # fmt: skip


def _tuned(tuned: Mapping[str, Any]) -> str:
    kept = "keep" if tuned["keeps"] else "come closest to (nothing that was tried keeps it)"
    changes = "".join(f"<li>{escape(line)}</li>" for line in tuned["changes"]) or "<li>none: the rules as they are</li>"
    rows = [
        (words(row["severity"]), percent(row["found"]), number(row["delay_hours"]))
        for row in overall(tuned["recall"], "warning")
    ]
    return (
        f"<p>overlay.yaml: the changes that {kept} {tuned['budget']:g} warnings per 100 patient-days on the stays without a "
        f"course of this very cohort, where they make {tuned['burden']:.2f}. What is found with them is an expectation, not a "
        f"measurement on other people.</p><ul>{changes}</ul>"
        + table(("severity", "expected to be found", "delay, h (median)"), rows)
    )


def _curves(result: Mapping[str, Any]) -> str:
    plots = []
    own = overall(result["product"]["burden"])
    for severity in SEVERITIES:
        lines = [
            Line(name, [(point["burden"], 100 * point["sensitivity"][severity]) for point in peer["curve"]], step=True)
            for name, peer in result["peers"].items()
            if peer["curve"] and severity in peer["curve"][0]["sensitivity"]
        ]
        marks = []
        for tier in TIERS:
            at = next((row["per_100_days"].value for row in own if row["tier"] == tier), None)
            found = [row["found"] for row in overall(result["product"]["recall"], tier) if row["severity"] == severity]
            if at is not None and found and found[0].value is not None:
                value, low, high = _percents(found[0])
                marks.append(Mark(f"itbwatch {tier}", at, value or 0.0, low, high))
        if lines or marks:
            plots.append(f"<h3>{words(severity)}</h3>" + line_plot(
                lines, marks, x="warnings per 100 background patient-days", y="courses found, %", x_end=BURDEN_SHOWN
            ))  # fmt: skip
    return "".join(plots) + _at_budgets(result) if plots else "<p>None.</p>"


def _at_budgets(result: Mapping[str, Any]) -> str:
    rows = []
    for name, peer in result["peers"].items():
        for one, moved in zip(peer["at_budgets"], peer["transfer"], strict=True):
            found = {row["severity"]: row["found"] for row in overall(one["recall"])}
            reached = overall(one["burden"])
            rows.append((name, f"{one['budget']:.2f}", _plain(one["threshold"]), number(reached[0]["per_100_days"]) if reached else "-",
                         _plain(moved["burden_unseen"]), *(percent(found.get(severity)) for severity in SEVERITIES)))  # fmt: skip
    return table(
        (
            "peer",
            "budget",
            "threshold",
            "burden",
            "on people a threshold of half of them had not seen",
            *map(words, SEVERITIES),
        ),
        rows,
    )


def _delays(product: Mapping[str, Any]) -> str:
    lines = []
    for row in overall(product["recall"], "warning"):
        delays, courses = row["delays_hours"], row["courses"]
        steps = [(0.0, 0.0)] + [(max(0.0, at), 100 * (rank + 1) / courses) for rank, at in enumerate(delays)]
        lines.append(Line(words(row["severity"]), [*steps, (72.0, steps[-1][1])], step=True, bold=True))
    return line_plot(lines, x="hours from the first visible sign", y="courses warned of, %", x_end=72.0)


def _against(result: Mapping[str, Any]) -> str:
    rows = [
        (row["peer"], words(row["severity"]), percent(row["product"]), percent(row["theirs"]), row["verdict"])
        for row in result.get("against_peers", ())
    ]
    said = ""
    for verdict, told in (
        ("behind", "behind"),
        ("level", "level with"),
        ("ahead", "ahead of, with overlapping intervals:"),
    ):
        named = ", ".join(f"{row[0]} ({row[1]})" for row in rows if row[4] == verdict)
        said += f"<p>The product is <b>{told}</b> {escape(named)}.</p>" if named else ""
    return said + table(("peer", "severity", "itbwatch", "peer at the same burden or less", "verdict"), rows)


def _ablation(rows: Sequence[Mapping[str, Any]]) -> str:
    cells = [
        (row["configuration"], number(row["burden"]["per_100_days"]),
         *(percent(row["recall"][one]["found"]) if one in row["recall"] else "-" for one in SEVERITIES),
         "-" if row["won"] is None else f"+{row['won']} -{row['lost']} (p {row['p']:.3f})")
        for row in rows
    ]  # fmt: skip
    return table(("configuration", "per 100 patient-days", *map(words, SEVERITIES), "against the row above"), cells)


def _groups(product: Mapping[str, Any]) -> str:
    rows = [
        (words(row["severity"]), words(row["by"]), words(row["group"]), row["tier"], percent(row["found"]), number(row["delay_hours"]))
        for row in product["recall"] if row["by"] is not None and row["tier"] in TIERS
    ]  # fmt: skip
    return table(("severity", "by", "group", "tier", "found", "delay, h (median)"), rows)


def _percents(figure: Figure) -> tuple[float | None, float | None, float | None]:
    return (
        None if figure.value is None else 100 * figure.value,
        None if figure.low is None else 100 * figure.low,
        None if figure.high is None else 100 * figure.high,
    )


def _share(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.0f} %"


def _plain(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
