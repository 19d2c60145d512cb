"""An alert as HTML, the same on the bedside page and in a replay's report. Every value is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from html import escape

from msgspec import structs

from detector.records import AlertRecord, Evidence

DISCLAIMER = "Research and quality software. Not a medical device and never the primary alarm."

STYLE = """
:root { color-scheme: light dark; font: 15px/1.45 system-ui, sans-serif; }
body { max-width: 76rem; margin: 1rem auto; padding: 0 1rem; }
h1 { font-size: 1.3rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
.notice { border: 1px solid; border-radius: .3rem; padding: .4rem .8rem; }
.alert { border-left: .5rem solid; border-radius: .3rem; padding: .2rem 1rem; margin: 1rem 0; background: #8881; }
.alert h3 { margin: .4rem 0; font-size: 1.05rem; } .alert h4 { margin: .6rem 0 0; font-size: .9rem; }
.alert ul { margin: .1rem 0 .4rem; padding-left: 1.2rem; }
.info { border-color: #5b7083; } .watch { border-color: #2b6cb0; }
.warning { border-color: #b7791f; } .critical { border-color: #c53030; }
.badge { text-transform: uppercase; font-weight: 700; letter-spacing: .03em; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .15rem .8rem .15rem 0; text-align: left; vertical-align: top; }
td.number, th.number { text-align: right; }
.quiet { opacity: .75; }
rect.info { fill: #5b7083; } rect.watch { fill: #2b6cb0; } rect.warning { fill: #b7791f; } rect.critical { fill: #c53030; }
svg text { fill: currentColor; font-size: 12px; }
"""


def alert_html(record: AlertRecord, name: str, context: Iterable[str] = (), further: str = "") -> str:
    """The whole alert: what, how severe, since when, the evidence newest first, and what is missing or against it.

    ``name`` is how the stay is called here: a pseudonym on the page, the stay's id in a file that stays in the house.
    ``context`` says in plain text what is known of the pump; ``further`` is HTML for the end, already escaped.
    """
    since = f" · since {moment(record.onset_at)}" if record.onset_at else ""
    unit = f" · {escape(record.unit)}" if record.unit else ""
    return (
        f'<article class="alert {escape(record.severity)}">'
        f'<h3><span class="badge">{escape(record.severity)}</span> {escape(record.headline)}</h3>'
        f"<p>stay {escape(name)}{unit} · {escape(record.syndrome)}, {escape(record.state)} {moment(record.at)}{since}"
        f" · pump {escape(record.gate.pump)}, interruption {escape(record.gate.interruption)}</p>"
        + listed("Evidence, newest first", _evidence(record.evidence))
        + listed("Missing", map(escape, record.missing))
        + listed("Speaks against", map(escape, record.against))
        + listed("Pump and context", map(escape, context))
        + listed("Also think of", (f"{escape(one.name)}: {escape(one.because)}" for one in record.differentials))
        + listed("Could be checked", map(escape, record.checks))
        + further
        + "</article>"
    )


def moment(at: str) -> str:
    """A record's time to the minute, for reading."""
    return f"<time>{escape(at[:16].replace('T', ' '))}</time>"


def _evidence(evidence: Iterable[Evidence]) -> Iterator[str]:
    """A line for each reading or event, newest first, with every rule that cites it."""
    rules: dict[Evidence, list[str]] = {}
    for line in evidence:
        rules.setdefault(structs.replace(line, rule=""), []).append(line.rule)
    for line in sorted(rules, key=lambda line: line.effective_at, reverse=True):
        yield _cited(line, ", ".join(rules[line]))


def _cited(line: Evidence, rules: str) -> str:
    value = "" if line.value is None else f" {line.value:g} {escape(line.unit or '')}"
    change = f" ({escape(line.change)})" if line.change else ""
    source = f", {escape(line.source)}" if line.source else ""
    times = f"measured {moment(line.effective_at)}, known {moment(line.available_at)}"
    return f'{escape(line.signal)}<b>{value}</b>{change} <span class="quiet">{times}{source}, {escape(rules)}</span>'


def listed(title: str, items: Iterable[str]) -> str:
    """A titled list of HTML that is already escaped; nothing at all when there are no items."""
    lines = "".join(f"<li>{item}</li>" for item in items)
    return f"<h4>{title}</h4><ul>{lines}</ul>" if lines else ""
