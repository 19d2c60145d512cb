"""What the parts of one record share: what was found, and what the times of the message mean."""

from __future__ import annotations

from typing import Final

from detector.errors import InputError
from detector.events import PatientEvent, Position
from pipelines.formats import Decoded, Site, Unread
from pipelines.formats.hl7v2.instants import instant

COUNTED: Final = frozenset({"unread_type", "unread_value", "pending", "no_result", "no_stay"})
"""Reasons of parts that nothing is read from: counted, and no cause to keep the record."""


class Scope:
    """One record while it is read. ``filed_at`` is when the message in hand was written; None = nothing says it."""

    def __init__(self, site: Site, timestamp: int | None, position: Position | None) -> None:
        self.site = site
        self.position = position
        self._timestamp = timestamp if timestamp is not None and timestamp >= 0 else None
        self.filed_at = self._timestamp
        self.events: list[PatientEvent] = []
        self.unread: list[Unread] = []
        self.remarks: list[str] = []

    def decoded(self) -> Decoded:
        return Decoded(tuple(self.events), tuple(self.unread), tuple(self.remarks))

    def refuse(self, error: InputError, where: str) -> None:
        """A part that is no event."""
        self.unread.append(Unread(error.reason, where, refused=error.reason not in COUNTED))

    def begin(self, written: str) -> None:
        """A new message, with its MSH-7."""
        self.filed_at = self._timestamp
        self.filed_at = self.known_at(written)

    def instant(self, written: str) -> int:
        """Milliseconds of a time.

        Raises:
            InputError: ``date_only`` or ``bad_time``.
        """
        at, doubled = instant(written, self.site.timezone)
        if doubled:
            self.remarks.append("doubled_hour")
        return at

    def known_at(self, written: str) -> int | None:
        """When the record had something: the time given, else that of the message, else the broker's; None = neither.

        A time that names no instant is passed over, and counted.
        """
        if written:
            try:
                return self.instant(written)
            except InputError:
                self.remarks.append("time_passed_over")
        return self.filed_at
