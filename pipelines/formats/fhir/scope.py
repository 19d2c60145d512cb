"""What the parts of one record share: who is meant by a reference, what a time means, and where results are put."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime
from typing import Final, TypeVar

import msgspec

from detector.errors import InputError
from detector.events import PatientEvent, Position
from pipelines.formats import Decoded, Site, Unread
from pipelines.formats.codes import Coding
from pipelines.formats.fhir.resources import (
    DECODERS,
    KIND,
    CodeableConcept,
    DiagnosticReport,
    Patient,
    Reference,
    Resource,
)
from pipelines.formats.json_records import check_identity
from pipelines.formats.times import in_zone, parse_time

COUNTED: Final = frozenset(
    {"unread_type", "no_resource", "other_subject", "unread_status", "unread_class", "unread_code", "panel"}
)
"""Reasons of parts that nothing is read from: counted, and no cause to keep the record."""

_DATE = re.compile(r"\d{4}(-\d{2}(-\d{2})?)?", re.ASCII)
_LOCAL_TIME = re.compile(r"(\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2})(\.\d+)?", re.ASCII)
_LITERAL = re.compile(r"(?:^|/)([A-Z][A-Za-z]+)/([^/?#]+)(?:/_history/[^/?#]+)?$")

R = TypeVar("R", bound=Resource)
Others = dict[str, msgspec.Raw]
"""The resources of a Bundle by the references that lead to them."""


class Scope:
    """One record while it is read. ``path`` names the part that is read now."""

    def __init__(self, site: Site, timestamp: int | None, position: Position | None) -> None:
        self.site = site
        self.timestamp = timestamp if timestamp is not None and timestamp >= 0 else None
        self.position = position
        self.path = ""
        self.others: Others = {}
        self.reports: dict[int, DiagnosticReport] = {}  # by the identity of the results that they name
        self._contained: tuple[msgspec.Raw, ...] = ()
        self._by_id: dict[str, msgspec.Raw] | None = None
        self.events: list[PatientEvent] = []
        self.unread: list[Unread] = []
        self.remarks: list[str] = []

    def hold(self, contained: tuple[msgspec.Raw, ...]) -> None:
        """The resources that the one read now contains: references that begin with # lead to them."""
        self._contained, self._by_id = contained, None

    def decoded(self) -> Decoded:
        return Decoded(tuple(self.events), tuple(self.unread), tuple(self.remarks))

    def refuse(self, error: InputError, where: str = "") -> None:
        """A part that is no event."""
        self.unread.append(Unread(error.reason, f"{self.path}{where}".strip("."), refused=error.reason not in COUNTED))

    # -- times ---------------------------------------------------------------------------------------------------------

    def instant(self, name: str, text: str) -> int:
        """Milliseconds of a dateTime or instant; one without an offset is the site's.

        Raises:
            InputError: ``date_only`` for a year, month or day, which names no instant; ``bad_time``.
        """
        try:
            return parse_time(text)
        except InputError as error:
            if _DATE.fullmatch(text):
                raise InputError("date_only", f"{name}: expected a time, found a date") from error
            match = _LOCAL_TIME.fullmatch(text)
            if error.reason != "naive_time" or match is None:
                raise InputError("bad_time", f"{name}: {error}") from error
        try:
            local = datetime.fromisoformat(match[1])
        except ValueError as error:
            raise InputError("bad_time", f"{name}: expected a time of the calendar") from error
        at, doubled = in_zone(local, self.site.timezone)
        if doubled:
            self.remarks.append("doubled_hour")
        return at + int(((match[2] or ".") + "000")[1:4])

    def period(self, name: str, start: str | None, end: str | None) -> tuple[int | None, int | None]:
        """The instants of a period; None = not told.

        Raises:
            InputError: as ``instant``; ``bad_time`` for one that ends before it begins.
        """
        first, last = (self.instant(name, one) if one else None for one in (start, end))
        if first is not None and last is not None and last < first:
            raise InputError("bad_time", f"{name}: expected an end not before the start")
        return first, last

    def told_at(self, name: str, text: str | None) -> int | None:
        """When the record had it: what it says itself, else the broker's stamp. None = neither.

        Raises:
            InputError: as ``instant``.
        """
        return self.timestamp if text is None else self.instant(name, text)

    # -- references ----------------------------------------------------------------------------------------------------

    def patient_id(self, subject: Reference | None) -> str:
        """The id of the patient meant: of a literal reference its last part, of a logical one its identifier.

        Raises:
            InputError: ``missing_key`` without one, ``other_subject`` for anything but a patient, ``bad_identity``.
        """
        patient_id = self._patient_id(subject)
        if not patient_id:
            raise InputError("missing_key", "subject: expected a reference to a patient")
        check_identity(patient_id)
        return patient_id

    def _patient_id(self, subject: Reference | None) -> str | None:
        if subject is None:
            return None
        text = subject.reference
        if not text:
            return subject.identifier.value if subject.identifier is not None else None
        match = _LITERAL.search(text)
        if match is not None:
            if match[1] != "Patient":
                raise InputError("other_subject", "subject: expected a patient")
            return match[2]
        patient = self.find(subject, Patient)
        if patient is not None:
            named = None if text.startswith("#") else patient.id
            return named or next((one.value for one in patient.identifier if one.value), None)
        if self.raw(text) is not None:
            raise InputError("other_subject", "subject: expected a patient")
        return text.rpartition(":")[2] if text.startswith("urn:") else None

    @staticmethod
    def stay_id(encounter: Reference | None) -> str | None:
        """The id of an encounter; None = it is not named."""
        if encounter is None:
            return None
        if encounter.reference:
            return re.split(r"[/:#]", encounter.reference.partition("/_history/")[0])[-1] or None
        return encounter.identifier.value if encounter.identifier is not None else None

    def find(self, reference: Reference | None, kind: type[R]) -> R | None:
        """The resource that a reference means, where this record holds it. None = it does not, or holds another kind."""
        raw = self.raw(reference.reference) if reference is not None and reference.reference else None
        if raw is None:
            return None
        try:
            if KIND.decode(raw).resourceType == kind.__name__:
                found = DECODERS[kind.__name__].decode(raw)
                return found if isinstance(found, kind) else None
        except msgspec.ValidationError:
            pass  # where it stands as a part of its own it is refused as one
        return None

    def raw(self, text: str) -> msgspec.Raw | None:
        """The bytes of the resource that a literal reference means, where this record holds it."""
        if not text.startswith("#"):
            found = self.others.get(text)
            if found is None and (match := _LITERAL.search(text)) is not None:
                found = self.others.get(f"{match[1]}/{match[2]}")
            return found
        if self._by_id is None:
            self._by_id = {}
            for raw in self._contained:
                try:
                    self._by_id.setdefault(KIND.decode(raw).id or "", raw)
                except msgspec.ValidationError:
                    continue
        return self._by_id.get(text[1:])


def codings(concept: CodeableConcept) -> tuple[Coding, ...]:
    """The codes of a concept; its text stands for a code where it has none."""
    found = tuple((one.system, one.code) for one in concept.coding if one.code)
    return found or ((None, concept.text),)


def names(*concepts: CodeableConcept | None) -> Iterable[str]:
    """Every text that says what a concept is."""
    for concept in concepts:
        if concept is not None:
            yield from (text for text in (concept.text, *(one.display for one in concept.coding)) if text)
