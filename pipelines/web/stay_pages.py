"""The page of one alerted stay, live: what a replay's report shows of it, from the journal of the store.

It is made in a thread of the web server, from a read-only connection: the service's loop is not asked and does not wait.
Pages are made one at a time and kept for a moment, so that a full ward station costs what one nurse does.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from html import escape

import msgspec

from detector.events import Acknowledgement, PatientEvent
from detector.plan import Plan
from detector.records import AlertRecord
from pipelines.reports.alerted import Alerted
from pipelines.reports.course import course_of
from pipelines.reports.report import information
from pipelines.reports.stay_page import stay_content
from pipelines.run_again import events_of
from pipelines.settings import Settings
from pipelines.store import Store
from pipelines.web.board import Board
from pipelines.web.events import HEARTBEAT_SECONDS
from pipelines.web.ward_page import banner, head, notices

FRESH_S = 2.0
MOST_PAGES = 16
"""Pages that are kept; each is some 300 kB."""


class StayPages:
    """Makes pages for the pseudonyms that have an open alert here."""

    def __init__(
        self, settings: Settings, plan: Plan, board: Board, *, notice: str = "", answers: bool = False
    ) -> None:
        self._settings, self._plan, self._board = settings, plan, board
        self._notice, self._answers = notice, answers
        self._one_at_a_time = threading.Lock()
        self._made: OrderedDict[str, tuple[tuple[object, ...], float, str]] = OrderedDict()

    def page(self, pseudonym: str, missing: Callable[[], list[str]]) -> str | None:
        """The page; None = no open alert has this pseudonym here.

        Raises:
            StoreError: the store cannot be read.
        """
        mine = [record for stay, record in self._board.alerts() if stay == pseudonym]
        if not mine:
            return None
        key = tuple(sorted((one.alert_id, one.sequence) for one in mine))
        with self._one_at_a_time:
            kept = self._made.get(pseudonym)
            if kept is None or kept[0] != key or time.monotonic() - kept[1] > FRESH_S:
                content = self._content(pseudonym, mine)
                kept = self._made[pseudonym] = key, time.monotonic(), content
                self._made.move_to_end(pseudonym)
                while len(self._made) > MOST_PAGES:
                    self._made.popitem(last=False)
        return (
            head(f"itbwatch: stay {pseudonym}", "stay.js")
            + f'<body data-heartbeat="{HEARTBEAT_SECONDS:g}" data-stay="{escape(pseudonym)}"'
            + (" data-answers" if self._answers else "")
            + f'>{banner()}<header><p><a href="/">All wards</a> <span id="state" role="status"></span></p>'
            + notices(missing(), self._notice)
            + f'</header><main id="stay">{kept[2]}</main></body></html>\n'
        )

    def _content(self, pseudonym: str, mine: list[AlertRecord]) -> str:
        one = mine[0]
        stay = Alerted(one.patient_id, one.stay_id, pseudonym)
        store = Store(self._settings.store, read_only=True)
        try:
            for shown in sorted(mine, key=lambda each: each.alert_id):
                stored = [msgspec.json.decode(record, type=AlertRecord) for record in store.alert(shown.alert_id)]
                stay.records += stored or [shown]
            events = events_of(store.journal(one.patient_id))
        finally:
            store.close()
        told: list[PatientEvent] = [
            event for event in events
            if isinstance(event, PatientEvent) and not isinstance(event, Acknowledgement) and event.patient_id == one.patient_id
        ]  # fmt: skip
        course = course_of(told, stay, self._plan.catalogue)
        return stay_content(stay, course, self._plan.catalogue, information(), called=f"Stay {pseudonym}", live=True)
