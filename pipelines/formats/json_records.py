"""What every record of JSON must keep, whatever it says: bounds, one value for a key, an identity that can be stored."""

from __future__ import annotations

import json
import re
from itertools import accumulate
from typing import Any, Final

import msgspec

from detector.errors import InputError

LONGEST_IDENTITY = 256  # characters; far above any hospital's, and a bound on keys of the store
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")  # PostgreSQL refuses NUL in a text: it would stop every commit


def check_bounds(raw: bytes, record_bytes: int, json_depth: int) -> None:
    """Refuse what is too long, no UTF-8 or nested too deep, before anything reads it.

    Raises:
        InputError: ``oversize``, ``encoding`` or ``too_deep``.
    """
    if len(raw) > record_bytes:
        raise InputError("oversize", f"expected at most {record_bytes} bytes, found {len(raw)}")
    if not raw.isascii():
        try:
            raw.decode("utf-8")
        except UnicodeDecodeError as error:
            raise InputError("encoding", f"expected UTF-8, byte {error.start} is not") from error
    # The brackets of a record bound its depth from above, and hardly any record has more than the limit.
    if raw.count(b"[") + raw.count(b"{") > json_depth and _depth(raw) > json_depth:
        raise InputError("too_deep", f"expected at most {json_depth} levels of nesting")


_STRUCTURE = b'"[]{}'
_OTHER_BYTES = bytes(set(range(256)) - set(_STRUCTURE))
_STEP = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1, ord('"'): 0}


def _depth(raw: bytes) -> int:
    """The deepest nesting, from what is left when everything but quotes and brackets goes, and then the texts."""
    if b"\\" in raw:
        raw = re.sub(rb"\\.", b"", raw, flags=re.DOTALL)
    left = raw.translate(None, _OTHER_BYTES).replace(b'""', b"")
    return max(accumulate(map(_STEP.__getitem__, re.sub(rb'"[^"]*"', b"", left))), default=0)


_FAULTS: Final[tuple[tuple[str, str], ...]] = (
    ("Object missing required field", "missing_key"),
    ("Invalid enum value", "bad_value"),
    ("Number out of range", "not_finite"),
    ("Expected", "wrong_type"),
)
"""How the JSON library says it, and our word for it. Its own text may quote a value, so only its path is kept."""


def fault(error: msgspec.ValidationError) -> tuple[str, str]:
    """The reason of a JSON record that is not as it must be, and the path of what is wrong in it."""
    said, _, path = str(error).partition(" - at ")
    reason = next((word for start, word in _FAULTS if said.startswith(start)), "wrong_type")
    return reason, path.strip("`") or said.rpartition(" ")[2].strip("`")


_KEY = re.compile(rb'"([^"\\]*)"\s*:')


def check_keys(raw: bytes) -> None:
    """Refuse a key written twice: readers disagree on which one counts. Called on what is known to be JSON.

    Raises:
        InputError: ``duplicate_key``.
    """
    keys = _KEY.findall(raw)
    if len(keys) != len(set(keys)) or b"\\" in raw:
        check_nested_keys(raw)


def check_nested_keys(raw: bytes) -> None:
    """The same for records whose objects share keys, so that only reading them tells.

    Raises:
        InputError: ``duplicate_key``.
    """
    _KEYS.decode(raw.decode())


def _once(pairs: list[tuple[str, Any]]) -> None:
    if len(dict(pairs)) != len(pairs):
        raise InputError("duplicate_key", "expected every key once in an object")


_KEYS = json.JSONDecoder(object_pairs_hook=_once, parse_int=len, parse_float=len)


def check_identity(patient_id: str) -> None:
    """Refuse a patient id that could not be stored.

    Raises:
        InputError: ``bad_identity``.
    """
    if len(patient_id) > LONGEST_IDENTITY or _CONTROL.search(patient_id):
        raise InputError("bad_identity", "patient_id: too long, or with control characters")
