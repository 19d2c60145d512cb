"""HL7 v2.5.1 ORU^R01 for a flowsheet: a message for each step of an alert, its segments ended by CR.

The rows have codes of their own (``ROWS``, coding system 99ITB). Readings come as text, never as results under their own
codes: nobody must file them a second time.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from detector.catalogue.signals import Catalogue
from detector.records import SEVERITIES, AlertRecord, Evidence, Severity
from pipelines.exports import Export, told
from pipelines.settings import Hl7v2
from pipelines.web.alert_html import DISCLAIMER

SYSTEM: Final = "99ITB"
ROWS: Final = {
    "ITB-LEVEL": "alert level, 0 none to 4 critical",
    "ITB-SEVERITY": "alert severity",
    "ITB-STATE": "alert state",
    "ITB-HEADLINE": "alert headline",
    "ITB-ONSET": "first reading behind the alert",
    "ITB-SCORE": "withdrawal score",
    "ITB-EVIDENCE": "reading behind the alert",
    "ITB-ADVICE": "what to check",
}
ABNORMAL: Final = {"critical": "AA", "warning": "A"}

_LONGEST_CONTROL_ID: Final = 20  # characters of MSH-10 in v2.5.1
_ESCAPES: Final = str.maketrans({
    "\\": "\\E\\", "|": "\\F\\", "^": "\\S\\", "&": "\\T\\", "~": "\\R\\", "\n": "\\.br\\", "\r": "\\.br\\", "\v": " ",
    "\x1c": " ",
})  # fmt: skip


def exporter(_: Catalogue, identifiers: Hl7v2) -> Export:
    """Writes the message of a record."""
    kind = f"{_escaped(identifiers.assigning_authority or '')}^{_escaped(identifiers.identifier_types[0])}"

    def write(record: AlertRecord) -> Iterator[bytes]:
        yield message(record, kind)

    return write


def message(record: AlertRecord, identifier_kind: str = "^MR") -> bytes:
    """The message of one step of an alert, in UTF-8. ``identifier_kind`` is PID-3.4 and PID-3.5, escaped."""
    at = _time(record.at)
    sequence = f"-{record.sequence}"
    control_id = record.alert_id[: _LONGEST_CONTROL_ID - len(sequence)] + sequence
    syndrome = f"{record.syndrome}^{record.syndrome.replace('_', ' ')}^{SYSTEM}"
    segments = [
        f"MSH|^~\\&|ITBWATCH||||{at}||ORU^R01^ORU_R01|{control_id}|P|2.5.1||||||UNICODE UTF-8",
        f"PID|1||{_escaped(record.patient_id)}^^^{identifier_kind}",
        f"PV1|1|I|{_escaped(record.unit or '')}" + 16 * "|" + _escaped(record.stay_id or ""),
        f"OBR|1||{record.alert_id}{sequence}^ITBWATCH|{syndrome}|||{at}" + 15 * "|" + f"{at}|||F",
    ]
    return "".join(segment + "\r" for segment in (*segments, *_rows(record, at))).encode()


def _rows(record: AlertRecord, at: str) -> Iterator[str]:
    resolved = record.state == "resolved"
    level = Severity.NONE if resolved else SEVERITIES[record.severity]
    flag = "" if resolved else ABNORMAL.get(record.severity, "")
    rows: list[tuple[str, str, str, str]] = [
        ("NM", "ITB-LEVEL", "", str(int(level))),
        ("ST", "ITB-SEVERITY", "", record.severity),
        ("ST", "ITB-STATE", "", record.state),
        ("TX", "ITB-HEADLINE", "", f"{record.headline} {DISCLAIMER}"),
    ]
    if record.onset_at is not None:
        rows.append(("TS", "ITB-ONSET", "", _time(record.onset_at)))
    if record.score is not None:
        rows.append(("NM", "ITB-SCORE", "", f"{record.score:.6f}"))
    rows += [("TX", "ITB-EVIDENCE", str(number), _line(one)) for number, one in enumerate(record.evidence, 1)]
    rows += [("TX", "ITB-ADVICE", str(number), text) for number, text in enumerate(told(record), 1)]
    for number, (kind, code, sub_id, text) in enumerate(rows, 1):
        marked = flag if code == "ITB-LEVEL" else ""
        yield (f"OBX|{number}|{kind}|{code}^{ROWS[code]}^{SYSTEM}|{sub_id}|{_escaped(text)}|||{marked}|||F|||{at}")


def _line(one: Evidence) -> str:
    value = "" if one.value is None else f" {one.value:g} {one.unit or ''}".rstrip()
    change = f" ({one.change})" if one.change else ""
    return f"{one.rule}: {one.signal}{value}{change} at {one.effective_at}"


def _time(text: str) -> str:
    """An RFC 3339 time in UTC, as records hold it, in the form of HL7.

    >>> _time("2030-01-07T03:50:00.000Z")
    '20300107035000.000+0000'
    """
    return text.replace("-", "").replace(":", "").replace("T", "").replace("Z", "+0000")


def _escaped(text: str) -> str:
    return text.translate(_ESCAPES)
