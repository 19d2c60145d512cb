"""Bytes to messages, and messages to segments, fields and texts (HL7 v2.8.2 chapter 2).

Nothing is unescaped or decoded before it is asked for: most of a message is never read. Texts are split as Latin-1, in
which every byte is a character, so a byte that the character set does not have spoils only the field it stands in.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Final, NamedTuple

from detector.errors import InputError
from pipelines.formats import Unread

NULL = '""'
"""HL7 null: a value taken away, which is not the same as a field left out."""

_ENDS = "\n\v\x1c"  # ends of segments besides CR: other line endings, and the bytes that MLLP puts around a message
_SEGMENT = re.compile(r"[A-Z][A-Z0-9]{2}")
_ENVELOPE = frozenset({"FHS", "BHS", "BTS", "FTS"})

CHARACTER_SETS: Final[dict[str, str]] = {
    # HL7 table 0211, and the names of Python's codecs. ASCII reads as its superset: a feed that says so by mistake is
    # still refused where a byte is none.
    "ASCII": "ascii",
    "8859/1": "iso8859-1",
    "8859/2": "iso8859-2",
    "8859/3": "iso8859-3",
    "8859/4": "iso8859-4",
    "8859/5": "iso8859-5",
    "8859/6": "iso8859-6",
    "8859/7": "iso8859-7",
    "8859/8": "iso8859-8",
    "8859/9": "iso8859-9",
    "8859/15": "iso8859-15",
    "UNICODE": "utf-8",  # withdrawn in v2.5, and it never said which form: bytes that are UTF-16 are known by their look
    "UNICODE UTF-8": "utf-8",
    "UNICODE UTF-16": "utf-16",
    "UNICODE UTF-32": "utf-32",
    "GB 18030-2000": "gb18030",
    "KS X 1001": "euc_kr",
    "BIG-5": "big5",
}
_WIDE: Final = {
    b"\xff\xfe\x00\x00": "utf-32",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
    b"M\x00S\x00": "utf-16-le",
    b"\x00M\x00S": "utf-16-be",
}
_MULTIBYTE = re.compile(rb"GB 18030-2000|BIG-5")
"""Character sets in which the second byte of a character can be a separator: decoded before they are split."""

_HEADER = 1_000  # bytes in which MSH-18 of a first message stands
_NONE = "\uffff"  # stands for a separator that a message does not have; no text holds it


class Marks(NamedTuple):
    """The separators of a message (MSH-1 and MSH-2), and the character set of its bytes (MSH-18)."""

    field: str
    component: str
    repetition: str
    escape: str
    subcomponent: str
    character_set: str


class Segment:
    """One segment. ``open`` = it is the last of the record and not ended: its last field may have been cut."""

    __slots__ = ("_fields", "_line", "_shift", "broken", "marks", "name", "open")

    def __init__(self, line: str, marks: Marks, *, is_open: bool = False) -> None:
        self.name = line[:3]
        self.marks = marks
        self.open = is_open
        self.broken = False  # what follows it is no segment: part of it is missing
        self._line = line
        self._fields: list[str] | None = None  # most segments are never looked into
        self._shift = 1 if self.name == "MSH" else 0  # MSH-1 is the separator itself

    def field(self, number: int) -> str:
        """A field as it is written; empty where it is left out.

        Raises:
            InputError: ``bad_segment`` where part of the segment is missing.
        """
        if self.broken:
            raise InputError("bad_segment", f"{self.name}: followed by a line that is no segment")
        if self._fields is None:
            self._fields = self._line.split(self.marks.field)
        k = number - self._shift
        return self._fields[k] if k < len(self._fields) else ""

    def repetitions(self, number: int) -> list[str]:
        """The repetitions of a field as they are written; none where it is left out."""
        written = self.field(number)
        return written.split(self.marks.repetition) if written else []

    def text(self, number: int, component: int = 1) -> str:
        """A component of a field's first repetition as text; empty where it is left out or null.

        Raises:
            InputError: as ``leaf``.
        """
        written = self.field(number)
        return leaf(written.partition(self.marks.repetition)[0], self.marks, component) if written else ""

    def word(self, number: int, component: int = 1) -> str:
        """The same for what names something: a control character in it is damage.

        Raises:
            InputError: ``bad_value``, or as ``leaf``.
        """
        found = self.text(number, component)
        if not found.isprintable():
            raise InputError("bad_value", f"{self.name}-{number}: holds a control character")
        return found


class Message(NamedTuple):
    """The segments of one message, MSH first."""

    segments: list[Segment]

    @property
    def header(self) -> Segment:
        return self.segments[0]


def leaf(written: str, marks: Marks, component: int = 1, subcomponent: int = 1) -> str:
    """A subcomponent of a repetition as text, without blanks around it; empty where it is left out or null.

    Raises:
        InputError: ``encoding`` where a byte is none of the message's character set.
    """
    if component == 1:
        part = written.partition(marks.component)[0]
    else:
        parts = written.split(marks.component, component)
        part = parts[component - 1] if component <= len(parts) else ""
    if not part:
        return ""
    if subcomponent == 1:
        part = part.partition(marks.subcomponent)[0]
    else:
        parts = part.split(marks.subcomponent, subcomponent)
        part = parts[subcomponent - 1] if subcomponent <= len(parts) else ""
    found = plain(part, marks)
    return "" if found == NULL else found


def plain(written: str, marks: Marks) -> str:
    """A text without separators: unescaped, decoded, and without blanks around it.

    Raises:
        InputError: ``encoding``.
    """
    if marks.escape in written:
        written = _escapes(marks.escape).sub(lambda found: _unescaped(found[1], found[0], marks), written)
    if not written.isascii() and marks.character_set:
        try:
            written = written.encode("latin-1").decode(marks.character_set)
        except UnicodeError as error:
            raise InputError("encoding", "a byte that the character set of MSH-18 does not have") from error
    return written.strip()


@lru_cache(maxsize=16)
def _escapes(escape: str) -> re.Pattern[str]:
    mark = re.escape(escape)
    return re.compile(f"{mark}([^{mark}]*){mark}")


def _unescaped(code: str, whole: str, marks: Marks) -> str:
    """What an escape sequence stands for (chapter 2.7); one that is not known stays as it is written."""
    known = {"F": marks.field, "S": marks.component, "T": marks.subcomponent, "R": marks.repetition, "E": marks.escape,
             ".br": "\n", ".sp": "\n", "H": "", "N": ""}  # fmt: skip
    if code in known:
        return known[code]
    if code[:1] == "X" and re.fullmatch(r"X([0-9A-Fa-f]{2})+", code):
        return bytes.fromhex(code[1:]).decode("latin-1")
    return whole


def messages(raw: bytes, default_character_set: str) -> Iterator[Message | Unread]:
    """The messages of a record, in order, and what of it is no part of a message.

    Segments end with CR, LF or both, and MLLP's bytes may stand around a message. Envelopes of files and batches are
    passed over. A line that is no segment is refused, and the segment before it is marked as broken: a text with a line
    ending in it was cut there.

    Raises:
        InputError: ``xml``, ``encoding``, or ``not_hl7v2`` where there is no MSH segment at all.
    """
    text, character_set = _characters(raw, default_character_set)
    if text.lstrip().startswith("<"):
        raise InputError("xml", "expected HL7 v2 with separators, found XML")
    text = text.replace("\r\n", "\r")
    for end in _ENDS:
        text = text.replace(end, "\r")
    lines = text.split("\r")
    last = len(lines) - 1  # empty where the record ends with an end of a segment
    segments: list[Segment] = []
    marks: Marks | None = None
    found = stray = False
    for number, line in enumerate(lines):
        if not line:
            continue
        name = line[:3]
        if name == "MSH" or name in _ENVELOPE:
            if segments:
                yield Message(segments)
            segments, marks = [], None
            if name == "MSH":
                found = True
                try:
                    marks = _marks(line, character_set)
                except InputError as error:
                    yield Unread(error.reason, "MSH")
                    stray = True  # what follows it is part of that message
                    continue
                segments.append(Segment(line, marks, is_open=number == last))
        elif marks is not None and _SEGMENT.match(name) and line[3:4] in ("", marks.field):
            segments.append(Segment(line, marks, is_open=number == last))
        elif not line.isspace():
            if segments:
                segments[-1].broken = True
            if segments or not stray:
                yield Unread("bad_segment", f"line {number + 1}")
            stray = True
    if segments:
        yield Message(segments)
    if not found:
        raise InputError("not_hl7v2", "expected a segment MSH")


def _characters(raw: bytes, default: str) -> tuple[str, str | None]:
    """A record as text that can be split, and the character set of messages that name none; None = decoded already."""
    wide = next((codec for start, codec in _WIDE.items() if raw.startswith(start)), None)
    if wide is None and (multibyte := _MULTIBYTE.search(raw, 0, _HEADER)):
        wide = CHARACTER_SETS[multibyte[0].decode()]
    if wide is None:
        return raw.removeprefix(b"\xef\xbb\xbf").decode("latin-1"), CHARACTER_SETS[default]
    try:
        return raw.decode(wide).removeprefix("\ufeff"), None
    except UnicodeError as error:
        raise InputError("encoding", "a byte that the character set of MSH-18 does not have") from error


@lru_cache(maxsize=1024)
def _header(start: str, written: str, default: str | None) -> Marks:
    """The marks of a header that starts with MSH-1 and MSH-2, and writes its character set so."""
    if len(set(start)) != len(start) or not 2 <= len(start) <= 6 or any(one.isalnum() or one <= " " for one in start):
        raise InputError("bad_separators", "MSH-2: expected separators that differ, such as ^~\\&")
    field, component, repetition, escape, subcomponent = [*start, *[_NONE] * 5][:5]
    named = CHARACTER_SETS.get(written, "ascii") if written else default
    return Marks(field, component, repetition, escape, subcomponent, "" if default is None else named or "")


def _marks(line: str, default: str | None) -> Marks:
    field = line[3:4] or _NONE
    parts = line.split(field, 18)
    repetition = parts[1][1:2] if len(parts) > 1 else ""
    written = parts[17] if len(parts) > 17 else ""
    first = written.partition(repetition)[0] if repetition else written
    return _header(field + (parts[1] if len(parts) > 1 else ""), first.strip(), default)
