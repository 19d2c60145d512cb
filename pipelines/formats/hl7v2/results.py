"""Results: OBX segments to observations, in the light of the order, specimen and comments around them.

ORU^R01 is v2.8.2 chapter 7.3.1, OUL^R22 to R24 chapters 7.3.6 to 7.3.8; the status of a result is table 0085.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cached_property, lru_cache
from typing import Final, NamedTuple

from msgspec import structs

from detector.errors import InputError
from detector.events import Observation, Status
from pipelines.formats import Site
from pipelines.formats.codes import Codes
from pipelines.formats.hl7v2.instants import is_finer
from pipelines.formats.hl7v2.people import identifier, stay_id
from pipelines.formats.hl7v2.scope import Scope
from pipelines.formats.hl7v2.segments import Marks, Message, Segment, leaf, plain
from pipelines.formats.hl7v2.values import Value, upper_limit, values
from pipelines.settings import Hl7v2

STATUSES: Final[dict[str, Status]] = {
    "": "final",  # as in canonical JSON
    "F": "final",
    "V": "final",
    "U": "final",
    "P": "preliminary",
    "R": "preliminary",
    "S": "preliminary",
    "I": "registered",
    "C": "corrected",
    "A": "amended",
    "B": "amended",
    "D": "entered-in-error",
    "W": "entered-in-error",
    "X": "cancelled",
}
NO_RESULT: Final = frozenset({"N", "O"})
"""Statuses of an order or a question, not of a result."""

PENDING: Final = frozenset({"I", "P", "R", "S", "U"})
"""Statuses that say something without a value: it is still to come, or came before."""

WITHDRAWN: Final = frozenset({"entered-in-error", "cancelled"})

CONDITIONS: Final = {"HEM": "hemolyzed"}
"""Conditions of a specimen (SPM-24, table 0493) that are a flag."""

FLAGS: Final = {
    "hemolyzed": re.compile(r"ha?emoly[sz]", re.IGNORECASE),
    "clumped": re.compile(r"\bclump|\bplatelet aggregat", re.IGNORECASE),
}
"""What a text of a specimen, an abnormal flag or a comment (NTE-3) says, and the flag that it becomes."""

_DENIED = re.compile(r"\b(?:no|not|non|none|without|absent|negative|nil|free|index)\b", re.IGNORECASE)
_SENTENCE = re.compile(r"[.;,\n]")


class Person:
    """Whom a PID segment is about; PV1 may come later, even after results."""

    def __init__(self, segment: Segment | None, rules: Hl7v2) -> None:
        self.segment = segment
        self.visit: Segment | None = None
        self._rules = rules

    @cached_property
    def ids(self) -> tuple[str, str | None] | InputError:
        """The patient id and the stay id (None = not told), or why there is none."""
        try:
            if self.segment is None:
                raise InputError("missing_key", "PID: expected one before the result")
            return identifier(self.segment, 3, self._rules).patient_id, stay_id(self.segment, self.visit, self._rules)
        except InputError as error:
            return error


class Order:
    """An OBR, looked into once for all results below it."""

    def __init__(self, segment: Segment) -> None:
        self._segment = segment

    @cached_property
    def number(self) -> str | None:
        """The filler's number of the order, else the placer's; None = it has none."""
        return _entity(self._segment, 3) or _entity(self._segment, 2)

    @cached_property
    def drawn(self) -> str:
        return self._segment.text(7)

    @cached_property
    def filed(self) -> str:
        return self._segment.text(22)


class Result(NamedTuple):
    """An OBX and what stands around it. ``specimens`` are those of its order, of which one at most is meant."""

    segment: Segment
    person: Person
    order: Order | None
    specimens: list[Segment]
    comments: list[Segment]


class Results:
    """Reads the results of a message."""

    def __init__(self, site: Site) -> None:
        self._rules = site.hl7v2
        self._catalogue = site.catalogue
        codes = Codes(site)

        @lru_cache(maxsize=4096)  # a feed uses a few hundred
        def code_of(written: str, marks: Marks) -> str:
            first = written.partition(marks.repetition)[0]
            texts = [leaf(first, marks, k) or None for k in (3, 1, 6, 4, 12, 10)]
            return codes.choose(tuple((texts[k], texts[k + 1]) for k in (0, 2, 4)))

        self._code_of = code_of
        self._unit_of = lru_cache(maxsize=4096)(self._written_unit)

    def read(self, scope: Scope, message: Message) -> None:
        """Add the observations of a message, and what of its results is none."""
        source = message.header.text(3)
        found: list[Observation] = []
        for number, result in enumerate(_results(message, self._rules), 1):
            try:
                found.extend(self._observations(scope, result, source if source.isprintable() else ""))
            except InputError as error:
                scope.refuse(error, f"OBX {number}")
        scope.events.extend(_told_apart(found))

    def _observations(self, scope: Scope, result: Result, source: str) -> Iterator[Observation]:
        segment, order = result.segment, result.order
        marks = segment.marks
        written_status = segment.text(11)
        status = _status(segment, written_status)
        told = list(values(segment))
        code = self._code_of(segment.field(3), marks)
        ids = result.person.ids
        if isinstance(ids, InputError):
            raise ids
        if not told:
            if written_status in PENDING:
                raise InputError("pending", "OBX-5: a result that is still to come, or came before")
            if status not in WITHDRAWN:
                raise InputError("no_value", "OBX-5: expected a value")
            told = [Value(None, None)]
        known_at = scope.known_at(order.filed if order is not None else "")
        number = (order.number if order is not None else None) or _entity(segment, 21)
        named = self._catalogue.resolve_code(code)
        is_lab = named is not None and self._catalogue.signals[named.signal].is_lab
        try:
            effective_at = scope.instant(_measured(result, is_lab=is_lab))
        except InputError:
            if status not in WITHDRAWN or number is None or known_at is None:
                raise
            effective_at = known_at  # it is known by its id: when it was measured does not matter any more
        identity = None
        if number is not None:
            # An order of a laboratory is one specimen, so that a corrected time replaces the reading, too. Monitors and
            # flowsheets send reading after reading under one order.
            identity = f"{number}|{code}|{segment.text(4)}" + ("" if is_lab else f"|{effective_at}")
        site = self._site_of(segment) if segment.field(20) else None
        for repetition, value in enumerate(told):
            yield Observation(
                patient_id=ids[0],
                stay_id=ids[1],
                code=code,
                effective_at=effective_at,
                available_at=effective_at if known_at is None else known_at,
                value=value.number,
                value_text=value.text,
                unit=self._unit_of(code, segment.field(6), marks),
                status=status,
                observation_id=f"{identity}#{repetition}" if identity and repetition else identity,
                flags=_flags(result),
                site=site,
                reference_high=upper_limit(segment.text(7)),
                source=source or None,
                position=scope.position,
            )

    def _site_of(self, segment: Segment) -> str | None:
        """Where a temperature was taken, as OBX-20 says it and the catalogue knows it; None = neither."""
        words = (segment.text(20).lower(), segment.text(20, 2).lower())
        return next((word for word in words if word in self._catalogue.site_spellings), None)

    def _written_unit(self, code: str, written: str, marks: Marks) -> str | None:
        """The first way in which OBX-6 writes a unit that the signal knows, else the first; None = there is none.

        The whole field is one of them: many feeds write ``10^9/L`` though ``^`` is their separator.
        """
        ways = [one for k in (1, 2, 4) if (one := leaf(written, marks, k))]
        if not ways:
            return None
        named = self._catalogue.resolve_code(code)
        signal = self._catalogue.signals[named.signal] if named is not None else None
        known = (one for one in (*ways, plain(written, marks)) if signal is not None and signal.resolve_unit(one))
        return next(known, ways[0])


def _results(message: Message, rules: Hl7v2) -> list[Result]:
    """The OBX segments of a message, each with its patient, order, specimen and comments.

    In OUL^R22 and R23 a specimen comes before its orders, elsewhere it stands within one.
    """
    specimen_first = message.header.text(9, 2) in ("R22", "R23")
    found: list[Result] = []
    person = Person(None, rules)
    order: Order | None = None
    specimens: list[Segment] = []
    comments: list[Segment] | None = None
    for segment in message.segments:
        match segment.name:
            case "OBX":
                comments = []
                found.append(Result(segment, person, order, specimens, comments))
                continue
            case "NTE":
                if comments is not None:
                    comments.append(segment)
                continue
            case "PID":
                person, order, specimens = Person(segment, rules), None, []
            case "PV1":
                person.visit = segment
            case "OBR":
                order = Order(segment)
                specimens = specimens if specimen_first else []
            case "SPM" if specimen_first:
                order, specimens = None, [segment]
            case "SPM":
                specimens.append(segment)
            case _:
                continue
        comments = None
    return found


def _status(segment: Segment, written: str) -> Status:
    if written in NO_RESULT:
        raise InputError("no_result", "OBX-11: a question or an order, not a result")
    status = STATUSES.get(written)
    if status is None:
        raise InputError("bad_value", f"OBX-11: expected one of {' '.join(filter(None, STATUSES))}")
    if not written and segment.open:
        raise InputError("bad_segment", "OBX: ends the record before OBX-11 without an end of its own; it was cut")
    return status


def _entity(segment: Segment, number: int) -> str | None:
    """An entity identifier (EI), its authority with it; None = it is left out."""
    first = segment.field(number).partition(segment.marks.repetition)[0]
    if not leaf(first, segment.marks):
        return None
    return "^".join(leaf(first, segment.marks, k) for k in range(1, 5)).rstrip("^")


def _measured(result: Result, *, is_lab: bool) -> str:
    """When it was measured or drawn: OBX-14, else OBR-7, else when the one specimen was collected.

    Of a laboratory result the first that is known to the minute, where those before it name its day: an order is one
    specimen there, and many feeds cut the time off OBX-14.
    """
    written = [result.segment.text(14), result.order.drawn if result.order is not None else ""]
    written += [result.specimens[0].text(17)] if len(result.specimens) == 1 else []
    told = [one for one in written if one]
    if not told:
        raise InputError("no_time", "OBX-14, OBR-7, SPM-17: expected one of them")
    if not is_lab or result.segment.open:  # what ends the record may be a time that was cut
        return told[0]
    return next((one for one in told[1:] if is_finer(one, told[0])), told[0])


def _flags(result: Result) -> tuple[str, ...]:
    marks = result.segment.marks
    found = _coded_flags(result.segment.field(8), marks)
    if len(result.specimens) == 1:
        found |= _coded_flags(result.specimens[0].field(24), marks)
    for note in result.comments:
        for one in note.repetitions(3):
            found |= _said(plain(one, marks))
    return tuple(sorted(found))


@lru_cache(maxsize=1024)
def _coded_flags(written: str, marks: Marks) -> frozenset[str]:
    found: frozenset[str] = frozenset()
    for one in written.split(marks.repetition) if written else ():
        condition = CONDITIONS.get(leaf(one, marks))
        found |= _said(leaf(one, marks, 2)) | ({condition} if condition is not None else frozenset())
    return found


def _said(text: str) -> frozenset[str]:
    sentences = [one for one in _SENTENCE.split(text) if not _DENIED.search(one)]
    return frozenset(flag for flag, pattern in FLAGS.items() if any(pattern.search(one) for one in sentences))


def _told_apart(found: list[Observation]) -> list[Observation]:
    """The observations of a message; of those that share an id each is known by its time as well."""
    times: dict[str, set[int]] = {}
    for one in found:
        if one.observation_id is not None:
            times.setdefault(one.observation_id, set()).add(one.effective_at)
    if all(len(at) == 1 for at in times.values()):
        return found
    return [
        structs.replace(one, observation_id=f"{one.observation_id}|{one.effective_at}")
        if len(times.get(one.observation_id or "", ())) > 1
        else one
        for one in found
    ]
