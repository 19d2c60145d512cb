"""One HTML page that stands alone: a strict content policy, no script, no outside address; every text is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from pipelines.web.alert_html import STYLE

POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
REPORT_STYLE = """
svg { max-width: 100%; height: auto; } table { margin: .4rem 0 1rem; }
time { white-space: nowrap; } .wide { overflow-x: auto; } svg text.on { fill: #fff; font-size: 11px; }
a:focus-visible, summary:focus-visible, .wide:focus-visible { outline: 3px solid; outline-offset: 2px; }
th { border-bottom: 1px solid #8888; } tr:nth-child(even) td { background: #8881; }
@page { margin: 12mm; }
@media print {
  :root { color-scheme: light; font-size: 11px; } body { max-width: none; margin: 0; }
  .wide { overflow: visible; } .screen { display: none; } details::details-content { content-visibility: visible; display: block; }
  h2, h3, h4 { break-after: avoid; } tr, li { break-inside: avoid; }
}
"""


def page(title: str, content: str, style: str = "") -> str:
    """A whole document. ``content`` and ``style`` are ours and already escaped, ``title`` is not."""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="referrer" content="no-referrer">'
        f"<title>{escape(title)}</title><style>{STYLE}{REPORT_STYLE}{style}</style></head><body>{content}</body></html>\n"
    )


def section(title: str, content: str, anchor: str = "") -> str:
    at = f' id="{escape(anchor)}"' if anchor else ""
    return f"<h2{at}>{escape(title)}</h2>{content}"


class Raw(str):
    """HTML that is already escaped, for a cell of a table."""

    __slots__ = ()


def table(head: Sequence[str], rows: Iterable[Sequence[object]], none: str = "None.") -> str:
    """A table; columns of numbers stand right. An empty ``head`` gives no headings, no rows the word ``none``."""
    cells = [[*row] for row in rows]
    if not cells:
        return f"<p>{escape(none)}</p>"
    body = "".join("<tr>" + "".join(_cell(cell) for cell in row) + "</tr>" for row in cells)
    titles = "".join(
        f'<th scope="col"{_RIGHT if column and all(map(_stands_right, column)) else ""}>{escape(title)}</th>'
        for title, *column in zip(head, *cells, strict=False)
    )
    return f"<table>{f'<thead><tr>{titles}</tr></thead>' if any(head) else ''}<tbody>{body}</tbody></table>"


def wide(content: str, label: str) -> str:
    """Something that may be wider than the window: it scrolls by itself, with the keyboard too."""
    return f'<div class="wide" tabindex="0" role="region" aria-label="{escape(label)}">{content}</div>'


def words(name: object) -> str:
    """A name of the contract as words: ``no_value`` as "no value", None as "-"."""
    return "-" if name is None else str(name).replace("_", " ")


_RIGHT = ' class="number"'
NO_FIGURE = "-"
"""In a column of numbers: there is none."""


def _stands_right(value: object) -> bool:
    return isinstance(value, int | float) or value == NO_FIGURE


def _cell(value: object) -> str:
    if isinstance(value, Raw):
        return f"<td>{value}</td>"
    if isinstance(value, float):
        return f"<td{_RIGHT}>{value:,.2f}</td>"
    text = f"{value:,}" if isinstance(value, int) else escape(str(value))
    return f"<td{_RIGHT if _stands_right(value) else ''}>{text}</td>"
