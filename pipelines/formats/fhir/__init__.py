"""FHIR R4 and R4B as JSON: a resource, a Bundle of any type, or several resources as NDJSON in one record.

What is read from each resource, and what is refused, stands in docs/formats.md. The subset is decoded straight from the
bytes into structs (``resources``); a part that cannot be read costs no neighbour. Extensions never change a meaning
here; ``modifierExtension`` may, so a resource that carries one is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec
from msgspec import structs

from detector.errors import InputError
from detector.events import Position
from pipelines.formats import Decode, Decoded, Site, canonical
from pipelines.formats.fhir import encounters, medications, pumps
from pipelines.formats.fhir.observations import Observations
from pipelines.formats.fhir.resources import BUNDLE, DECODERS, ENTRY, KIND, REPORT, DiagnosticReport, Observation
from pipelines.formats.fhir.scope import Scope
from pipelines.formats.json_records import check_bounds, check_nested_keys, fault

REASONS: Final[dict[str, str]] = {
    "xml": "FHIR as XML; only JSON is read",
    "unread_type": "a resource that nothing is read from",
    "no_resource": "an entry of a Bundle without a resource",
    "deleted": "an entry that deletes a resource: what it said before cannot be found again",
    "modified": "a modifierExtension may change what the resource says",
    "date_only": "a date without a time of day names no instant",
    "no_time": "nothing says when it happened",
    "other_subject": "about something else than the patient",
    "panel": "only a list of results that are resources of their own",
    "unread_class": "an encounter that is no stay, such as an outpatient visit",
    "unread_status": "a status that says nothing happened, such as planned or not-done",
    "unread_code": "a procedure, device or drug that no rule reads",
    "unknown_route": "baclofen by a route that is not told: oral and intrathecal are opposites",
    "entered_in_error": "taken back, and what it said before cannot be",
}
"""Reasons besides those of canonical JSON."""

_XML_STARTS = (b"<", b"\xef\xbb\xbf<")


def decoder(site: Site) -> Decode:
    """The decoder of a site."""
    readers = _Readers(site)

    def decode(raw: bytes | None, *, timestamp: int | None = None, position: Position | None = None) -> Decoded:
        if raw is None:
            raise InputError("tombstone", "expected a FHIR resource, found a record without a value")
        check_bounds(raw, site.record_bytes, site.json_depth)
        if raw.lstrip().startswith(_XML_STARTS):
            raise InputError("xml", "expected JSON, found XML")
        scope = Scope(site, timestamp, position)
        try:
            kind = KIND.decode(raw).resourceType
        except msgspec.ValidationError as error:
            raise _refusal(error) from error
        except msgspec.DecodeError as error:
            return _lines(readers, scope, raw, error)
        check_nested_keys(raw)
        readers.read(scope, kind, raw)
        return scope.decoded()

    return decode


class _Readers:
    """What is done with a resource of each type."""

    def __init__(self, site: Site) -> None:
        self._observations = Observations(site)
        self._read: dict[str, Callable[[Scope, Any], None]] = {
            "Observation": self._observations.read,
            "DiagnosticReport": self._report,
            "Encounter": encounters.read,
            "Device": pumps.read_device,
            "DeviceUseStatement": pumps.read_use,
            "Procedure": pumps.read_procedure,
            "MedicationAdministration": medications.read,
        }

    def read(self, scope: Scope, kind: str, raw: bytes | msgspec.Raw) -> None:
        """Add what a resource says; a part of it that cannot be read is refused."""
        try:
            if kind == "Bundle":
                self._bundle(scope, raw)
                return
            read = self._read.get(kind)
            if read is None:
                raise InputError("unread_type", "resourceType: nothing is read from it")
            resource = DECODERS[kind].decode(raw)
            if resource.modifierExtension:
                raise InputError("modified", "modifierExtension: expected none")
            scope.hold(resource.contained)
            if isinstance(resource, Observation) and scope.reports:
                self._observations.read(scope, resource, scope.reports.get(id(raw)))
            else:
                read(scope, resource)
        except msgspec.ValidationError as error:
            _refuse(scope, error)
        except InputError as error:
            scope.refuse(error)

    def _bundle(self, scope: Scope, raw: bytes | msgspec.Raw) -> None:
        """The entries of a Bundle one by one; they may refer to each other, whatever their order."""
        path = scope.path
        found: list[tuple[str, str, msgspec.Raw]] = []
        for number, entry_raw in enumerate(BUNDLE.decode(raw).entry):
            scope.path = f"{path}entry[{number}]."
            try:
                entry = ENTRY.decode(entry_raw)
                if not entry.resource:
                    deletes = entry.request is not None and entry.request.method == "DELETE"
                    raise InputError("deleted" if deletes else "no_resource", "resource: expected one")
                kind = KIND.decode(entry.resource)
            except msgspec.ValidationError as error:
                _refuse(scope, error)
                continue
            except InputError as error:
                scope.refuse(error)
                continue
            found.append((scope.path, kind.resourceType, entry.resource))
            if entry.fullUrl:
                scope.others[entry.fullUrl] = entry.resource
            if kind.id:
                scope.others[f"{kind.resourceType}/{kind.id}"] = entry.resource
        for scope.path, kind_name, resource in found:
            if kind_name == "DiagnosticReport":
                self._lend(scope, resource)
        for scope.path, kind_name, resource in found:
            self.read(scope, kind_name, resource)
        scope.path = path

    @staticmethod
    def _lend(scope: Scope, raw: msgspec.Raw) -> None:
        """A report lends its time to the results of a Bundle that have none of their own."""
        try:
            report = REPORT.decode(raw)
        except msgspec.ValidationError:
            return  # refused where it is read
        for reference in report.result:
            result = scope.raw(reference.reference) if reference.reference else None
            if result is not None:
                scope.reports[id(result)] = report

    def _report(self, scope: Scope, report: DiagnosticReport) -> None:
        """The results that a report contains; those it only names are resources of their own."""
        inside = [one.reference for one in report.result if one.reference and one.reference.startswith("#")]
        path = scope.path
        for reference in inside:
            scope.path = f"{path}contained[{reference}]."
            try:
                raw = scope.raw(reference)
                result = DECODERS["Observation"].decode(raw) if raw is not None else None
                if not isinstance(result, Observation):
                    raise InputError("missing_key", "result: expected the Observation it names")
                own_id = f"{report.id}{reference}" if report.id else None
                self._observations.read(scope, structs.replace(result, id=own_id), report)
            except msgspec.ValidationError as error:
                _refuse(scope, error)
            except InputError as error:
                scope.refuse(error)
        scope.path = path
        if not inside:
            raise InputError("panel", "result: its results are resources of their own")


def _lines(readers: _Readers, scope: Scope, raw: bytes, error: msgspec.DecodeError) -> Decoded:
    """Several resources, one a line; a bad line costs no other.

    Raises:
        InputError: ``json``, where they are no such lines.
    """
    lines = [line for line in raw.splitlines() if line.strip()]
    if len(lines) < 2 or not all(line.lstrip().startswith(b"{") for line in lines):
        raise InputError("json", "expected one JSON object, or one a line") from error
    for number, line in enumerate(lines):
        scope.path = f"line[{number}]."
        try:
            kind = KIND.decode(line).resourceType
            check_nested_keys(line)
        except msgspec.ValidationError as wrong:
            _refuse(scope, wrong)
        except msgspec.DecodeError:
            scope.refuse(InputError("json", "expected one JSON object"))
        except InputError as refused:
            scope.refuse(refused)
        else:
            readers.read(scope, kind, line)
    return scope.decoded()


def _refuse(scope: Scope, error: msgspec.ValidationError) -> None:
    reason, path = fault(error)
    scope.refuse(InputError(reason, path), path.removeprefix("$").lstrip("."))


def _refusal(error: msgspec.ValidationError) -> InputError:
    reason, field = fault(error)
    return InputError(reason, f"{field}: {canonical.REASONS[reason]}")
