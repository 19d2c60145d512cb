"""HL7 v2.3 to v2.8 with separators: one message, several, or a batch in one record.

Results are read from ORU and OUL, stays from ADT; which fields are read, and what becomes of each status, stands in
docs/formats.md. Pumps and treatments have no place in these messages: a record that begins with a brace is canonical
JSON, so that a site can send them beside.

Own splitting, because the library for HL7 v2 cannot hold the rate (docs/decisions/); it is the oracle of the tests.
"""

from __future__ import annotations

from typing import Final

from detector.errors import InputError
from detector.events import Position
from pipelines.formats import NOTHING, Decode, Decoded, Site, Unread, canonical
from pipelines.formats.hl7v2 import stays
from pipelines.formats.hl7v2.results import Results
from pipelines.formats.hl7v2.scope import Scope
from pipelines.formats.hl7v2.segments import Message, messages

REASONS: Final[dict[str, str]] = {
    "not_hl7v2": "no segment MSH in the record",
    "xml": "XML; only HL7 v2 with separators is read",
    "bad_separators": "MSH-1 and MSH-2 are no separators that differ",
    "bad_segment": "a line that is no segment, or a segment that is not whole",
    "unread_type": "a message of a type that nothing is read from",
    "unread_value": "a document, a pointer or a waveform: no result",
    "no_result": "an OBX that is a question or part of an order",
    "pending": "a result without a value that is still to come, or came before",
    "date_only": "a time without minutes names no instant",
    "no_time": "nothing says when it happened",
    "no_stay": "an update of somebody who has no stay",
    "ambiguous_identity": "several identifiers of the patient would do",
}
"""Reasons besides those of canonical JSON."""

RESULTS: Final[dict[str, frozenset[str]]] = {
    "ORU": frozenset({"", "R01", "R03", "R30", "R31", "R32"}),
    "OUL": frozenset({"", "R21", "R22", "R23", "R24"}),
}
"""Messages of results by MSH-9. Waveforms (W01) and alarms (R40) are none."""


def decoder(site: Site) -> Decode:
    """The decoder of a site."""
    results = Results(site)

    def decode(raw: bytes | None, *, timestamp: int | None = None, position: Position | None = None) -> Decoded:
        if raw is None:
            raise InputError("tombstone", "expected a message, found a record without a value")
        if len(raw) > site.record_bytes:
            raise InputError("oversize", f"expected at most {site.record_bytes} bytes, found {len(raw)}")
        if raw.startswith(b"{"):
            event = canonical.decode(
                raw, timestamp=timestamp, position=position, record_bytes=site.record_bytes, json_depth=site.json_depth
            )
            return Decoded((event,))
        scope = Scope(site, timestamp, position)
        for part in messages(raw, site.hl7v2.character_set):
            if isinstance(part, Unread):
                scope.unread.append(part)
                continue
            try:
                _read(scope, results, part)
            except InputError as error:
                scope.refuse(error, "MSH")
        return scope.decoded()

    return decode


def _read(scope: Scope, results: Results, message: Message) -> None:
    """Add what a message says.

    Raises:
        InputError: nothing of it can be read.
    """
    kind, named = message.header.text(9), message.header.text(9, 2)
    if not kind:
        raise InputError("missing_key", "MSH-9: expected the type of the message")
    scope.begin(message.header.text(7))
    if kind == "ADT" and stays.trigger(message) in stays.EVENTS:
        stays.read(scope, message)
    elif kind not in RESULTS or named not in RESULTS[kind]:
        raise InputError("unread_type", "MSH-9: nothing is read from a message of this type")
    elif not any(segment.name == "OBX" for segment in message.segments):
        scope.unread.append(Unread(NOTHING.reason, "MSH", refused=False))
    results.read(scope, message)
