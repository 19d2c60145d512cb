"""OBX-5 by the type that OBX-2 gives it: a number where the message states one, else its text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from math import isfinite
from typing import Final, NamedTuple

from detector.errors import InputError
from pipelines.formats.hl7v2.segments import NULL, Marks, Segment, leaf, plain

_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)", re.ASCII)  # NM, v2.8.2 chapter 2.A.47: no exponent, no comma
_RANGE = re.compile(r"\s*(?:([+-]?[\d.]+)\s*-|<=?|≤)\s*([+-]?[\d.]+)\s*", re.ASCII)

TEXTS: Final = frozenset({"ST", "TX", "FT"})
CODED: Final = frozenset({"CE", "CWE", "CNE", "CF"})
UNREAD: Final = frozenset({"ED", "RP", "NA", "MA"})
"""Documents, pointers and waveforms: a number in them is no result."""


class Value(NamedTuple):
    """A number, or a text that is none."""

    number: float | None
    text: str | None


def values(segment: Segment) -> Iterator[Value]:
    """What OBX-5 says, repetition by repetition; nothing where it is left out.

    A text that is a number through and through is one: laboratories send such results as ST. A code is none, whatever
    it looks like. Null is the text ``""``, so that it is known to have been said.

    Raises:
        InputError: ``missing_key`` for a value without a type, ``unread_value`` for a type that holds no result,
            ``not_finite`` for a number too large for a float, ``encoding``.
    """
    written, marks = segment.repetitions(5), segment.marks
    if not written:
        return
    kind = segment.text(2)
    if kind in UNREAD:
        raise InputError("unread_value", "OBX-2: a type of value that holds no result")
    if not kind:
        raise InputError("missing_key", "OBX-2: expected the type of the value")
    if kind in TEXTS and len(written) > 1:
        yield Value(None, "\n".join(plain(one, marks) for one in written))
        return
    for one in written:
        if one == NULL:
            yield Value(None, NULL)
        elif kind == "SN":
            yield _structured(one, marks)
        elif kind in CODED:
            text = leaf(one, marks, 2) or leaf(one, marks) or leaf(one, marks, 9)
            if text:
                yield Value(None, text)
        elif text := plain(one, marks):
            yield _number_or_text(text)


def _number_or_text(text: str) -> Value:
    if not _NUMBER.fullmatch(text):
        return Value(None, text)
    number = float(text)
    if not isfinite(number):
        raise InputError("not_finite", "OBX-5: expected a number that a float can hold")
    return Value(number, None)


def _structured(written: str, marks: Marks) -> Value:
    """SN: comparator, number, separator, number. Only a lone number is one: ``<5``, ``1:128`` and ``2-4`` are texts."""
    comparator, first, between, second = (leaf(written, marks, k) for k in (1, 2, 3, 4))
    if comparator in ("", "=") and not between and not second:
        return _number_or_text(first) if first else Value(None, plain(written, marks))
    return Value(None, comparator + first + between + second)


@lru_cache(maxsize=1024)
def upper_limit(written: str) -> float | None:
    """The upper end of a reference range written as ``low-high`` or ``<high``; None where it is written otherwise.

    >>> upper_limit("30 - 200"), upper_limit("<5"), upper_limit("> 60"), upper_limit("m: 30-200")
    (200.0, 5.0, None, None)
    """
    match = _RANGE.fullmatch(written)
    if match is None:
        return None
    try:
        low, high = float(match[1] or "-inf"), float(match[2])
    except ValueError:
        return None
    return high if low <= high and isfinite(high) else None
