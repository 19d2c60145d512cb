"""Who a message is about: the patient id, the stay, the ward."""

from __future__ import annotations

from detector.errors import InputError
from pipelines.formats.hl7v2.segments import Segment, leaf
from pipelines.formats.json_records import check_identity
from pipelines.settings import Hl7v2


def patient_id(segment: Segment, number: int, rules: Hl7v2) -> str:
    """The identifier of a list of them (CX: PID-3, MRG-1) that the site knows its patients by.

    The first of ``identifier_types`` that the list has counts, of the assigning authority where one is configured. A
    lone identifier that names no type is taken too: v2.3 often sends it so.

    Raises:
        InputError: ``missing_key`` where there is none, ``ambiguous_identity`` where several would do, ``bad_identity``;
            ``bad_segment`` where it may have been cut.
    """
    where = f"{segment.name}-{number}"
    found: dict[str, list[str]] = {}
    written = segment.repetitions(number)
    for one in written:
        identifier = leaf(one, segment.marks)
        if identifier and _is_assigned(one, segment, rules.assigning_authority):
            found.setdefault(leaf(one, segment.marks, 5), []).append(identifier)
    chosen = next((found[kind] for kind in rules.identifier_types if kind in found), None)
    if chosen is None and len(written) == 1:
        chosen = found.get("")
        if chosen and segment.open and len(segment) == number:
            raise InputError("bad_segment", f"{where}: ends the record without an end of its own; it may have been cut")
    if chosen is None:
        raise InputError(
            "missing_key", f"{where}: expected an identifier of type {' or '.join(rules.identifier_types)}"
        )
    if len(set(chosen)) > 1:
        raise InputError("ambiguous_identity", f"{where}: several identifiers would do; set hl7v2.assigning_authority")
    check_identity(chosen[0])
    return chosen[0]


def _is_assigned(written: str, segment: Segment, authority: str | None) -> bool:
    return authority is None or authority in (leaf(written, segment.marks, 4, 1), leaf(written, segment.marks, 4, 2))


def stay_id(person: Segment | None, visit: Segment | None, rules: Hl7v2) -> str | None:
    """The number of the visit (PV1-19) or, where the site says so, of the account (PID-18); None = it has none.

    Raises:
        InputError: ``bad_value``, ``encoding`` or ``bad_segment``.
    """
    segment, number = (visit, 19) if rules.stay_id == "PV1-19" else (person, 18)
    return (segment.word(number) or None) if segment is not None else None
