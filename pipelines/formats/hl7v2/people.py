"""Who a message is about: the patient id, the stay, the ward."""

from __future__ import annotations

from typing import NamedTuple

from detector.errors import InputError
from pipelines.formats.hl7v2.segments import Segment, leaf
from pipelines.formats.json_records import check_identity
from pipelines.settings import Hl7v2


class Identifier(NamedTuple):
    """A patient id, and its type as the message writes it; empty where it names none."""

    patient_id: str
    kind: str


def identifier(segment: Segment, number: int, rules: Hl7v2) -> Identifier:
    """The identifier of a list of them (CX: PID-3, MRG-1) that the site knows its patients by.

    The first of ``identifier_types`` that the list has counts, of the assigning authority where one is configured. A
    lone identifier that names no type is taken too: v2.3 often sends it so.

    Raises:
        InputError: ``missing_key`` where there is none, ``ambiguous_identity`` where several would do, ``bad_identity``;
            ``encoding`` or ``bad_segment``.
    """
    where = f"{segment.name}-{number}"
    found: dict[str, list[str]] = {}
    written = segment.repetitions(number)
    for one in written:
        text = leaf(one, segment.marks)
        if text and _is_assigned(one, segment, rules.assigning_authority):
            found.setdefault(leaf(one, segment.marks, 5), []).append(text)
    kinds = [kind for kind in rules.identifier_types if kind in found]
    if not kinds and len(written) == 1 and "" in found:
        kinds = [""]
    if not kinds:
        raise InputError(
            "missing_key", f"{where}: expected an identifier of type {' or '.join(rules.identifier_types)}"
        )
    chosen = found[kinds[0]]
    if len(set(chosen)) > 1:
        raise InputError("ambiguous_identity", f"{where}: several identifiers would do; set hl7v2.assigning_authority")
    check_identity(chosen[0])
    return Identifier(chosen[0], kinds[0])


def _is_assigned(written: str, segment: Segment, authority: str | None) -> bool:
    return authority is None or authority in (leaf(written, segment.marks, 4, 1), leaf(written, segment.marks, 4, 2))


def stay_id(person: Segment | None, visit: Segment | None, rules: Hl7v2) -> str | None:
    """The number of the visit (PV1-19) or, where the site says so, of the account (PID-18); None = it has none.

    Raises:
        InputError: ``bad_value``, ``encoding`` or ``bad_segment``.
    """
    segment, number = (visit, 19) if rules.stay_id == "PV1-19" else (person, 18)
    return (segment.word(number) or None) if segment is not None else None
