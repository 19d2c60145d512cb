"""The page of the ward: a frame that the browser fills from ``/api/events``, and the same alerts as plain HTML for a
browser that runs no script.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from detector.records import SEVERITIES
from pipelines.web.alert_html import DISCLAIMER, alert_html
from pipelines.web.board import Board
from pipelines.web.events import HEARTBEAT_SECONDS

REFRESH_SECONDS = 3


def head(title: str, script: str, *, refresh: bool = False) -> str:
    """The head of a page of ours; ``script`` is a file of ``static``."""
    again = f'<noscript><meta http-equiv="refresh" content="{REFRESH_SECONDS}"></noscript>' if refresh else ""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><title>{escape(title)}</title>{again}'
        f'<link rel="stylesheet" href="/style.css"><script type="module" src="/static/{script}"></script></head>'
    )


def banner() -> str:
    """Where a browser says that what is shown may be old."""
    return '<div id="banner" role="alert" hidden></div>'


def notices(missing: Sequence[str], notice: str) -> str:
    """What stands on top of every page."""
    return (
        f'<p class="notice">{DISCLAIMER} No alert does not mean no danger.</p>'
        + (f'<p class="notice"><b>{escape(notice)}</b></p>' if notice else "")
        + (f'<p class="notice critical">Not ready: {escape("; ".join(missing))}</p>' if missing else "")
    )


def ward_page(board: Board, missing: Sequence[str], notice: str, *, answers: bool) -> str:
    """The whole page. ``answers``: somebody may answer alerts here."""
    alerts = board.alerts()
    counts = ", ".join(
        f"{n} {word}" for word in reversed(SEVERITIES) if (n := sum(record.severity == word for _, record in alerts))
    )
    cards = "".join(alert_html(record, stay) for stay, record in alerts)
    return (
        head("itbwatch", "ward.js", refresh=True)
        + f'<body data-heartbeat="{HEARTBEAT_SECONDS:g}"{" data-answers" if answers else ""}>'
        + banner()
        + f'<header><div><h1>itbwatch: <span id="counts">{escape(counts) or "no"} open alerts</span></h1>'
        '<p id="state" role="status"></p></div>'
        + notices(missing, notice)
        + "</header>"
        + '<main id="wards"></main>'
        + f"<noscript>{cards}</noscript>"
        + '<footer id="tools" hidden><label>Names on this screen only: <input id="names" type="file" accept=".csv,text/csv"></label> '
        '<span class="quiet">lines of pseudonym,name; the file is read by this page and sent nowhere</span></footer>'
        "</body></html>\n"
    )
