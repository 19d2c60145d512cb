"""Canonical JSON: bytes to an Event and back. Strict in what it takes, and it never guesses.

A record is one JSON object. Unknown keys are allowed (feeds carry more than we read), a key written twice is not, and
times must say which instant they mean. Every refusal is an ``InputError`` whose reason is one of ``REASONS``; its
message names fields, never values, because it is logged.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import msgspec
from msgspec import Struct
from msgspec.structs import FieldInfo, fields

from detector.clock import rfc3339
from detector.errors import InputError
from detector.events import (
    Acknowledgement,
    Condition,
    Context,
    Encounter,
    Event,
    Merged,
    Observation,
    PatientEvent,
    Position,
    Pump,
    Ticked,
    TimeMoved,
)
from pipelines.formats.json_records import check_bounds, check_identity, check_keys, fault
from pipelines.formats.times import parse_time

REASONS: Final[dict[str, str]] = {
    "tombstone": "a record without a value",
    "oversize": "more bytes than limits.record_bytes",
    "encoding": "not UTF-8",
    "json": "not JSON (NaN and Infinity are not JSON)",
    "too_deep": "nested deeper than limits.json_depth",
    "duplicate_key": "one key twice in one object",
    "unknown_type": "the type is none of the events",
    "wrong_topic": "an event of another topic",
    "missing_key": "a required key is missing or empty",
    "wrong_type": "a text where a number belongs, or the like",
    "bad_value": "a word that is not in the list of that key",
    "bad_identity": "a patient_id over 256 characters or with control characters",
    "bad_time": "not an RFC 3339 time, or outside 1900 to 2299",
    "naive_time": "a time without an offset: it names no instant",
    "not_finite": "a number too large for a float",
    "no_value": "an observation that says nothing",
}
"""Every reason that decoding gives: a value of the metric label ``reason``."""

RECORD_BYTES = 1 << 20
JSON_DEPTH = 32

KINDS: Final[dict[str, type[PatientEvent]]] = {
    "encounters": Encounter,
    "pumps": Pump,
    "context": Context,
    "observations": Observation,
    "acknowledgements": Acknowledgement,
    "merges": Merged,
}
"""What each topic carries (besides ``time``). A merge comes by its own topic only: it hands over a patient's state."""

SILENT_STATUSES = ("registered", "cancelled", "entered-in-error")
"""Statuses of an observation that need no value."""

_TIMES = frozenset({"effective_at", "available_at", "at", "until", "date", "since"})


def _wire(kind: type[Struct]) -> type[Struct]:
    """The event as it is written: times are RFC 3339 texts and ``available_at`` may be missing."""

    def written(field: FieldInfo) -> tuple[Any, ...]:
        if field.name == "available_at":
            return (field.name, str | None, None)
        wire_type = field.type
        if field.name in _TIMES:
            wire_type = str if field.required else str | None
        elif field.name == "conditions":
            wire_type = tuple[_Condition, ...]
        if field.required:
            return (field.name, wire_type)
        return (field.name, wire_type, field.default if field.default is not msgspec.NODEFAULT else
                msgspec.field(default_factory=field.default_factory))  # fmt: skip

    written_fields = [written(one) for one in fields(kind)]
    tag = kind.__struct_config__.tag
    return msgspec.defstruct(kind.__name__, written_fields, kw_only=True, omit_defaults=True, tag_field="type", tag=tag)


class _Condition(Struct, omit_defaults=True):
    code: str
    since: str | None = None


_EVENTS: Final[tuple[type[Struct], ...]] = (*KINDS.values(), TimeMoved)
_WIRE: Final[dict[type[Struct], type[Struct]]] = {kind: _wire(kind) for kind in _EVENTS}
_EVENT: Final[dict[type[Struct], type[Struct]]] = {wire: kind for kind, wire in _WIRE.items()}
_OPEN = [_WIRE[kind] for kind in _EVENTS if kind is not Merged]


def _decoder(wires: Iterable[Any]) -> msgspec.json.Decoder[Any]:
    union: Any = None
    for wire in wires:
        union = wire if union is None else union | wire
    return msgspec.json.Decoder(union)


_ANY = _decoder(_OPEN)
_JOURNAL = _decoder([*_WIRE.values(), Ticked])
# A decoder of one struct takes a record without `type`; a decoder of several needs it.
_ONE: Final[dict[Any, msgspec.json.Decoder[Any]]] = {
    kind.__struct_config__.tag: _decoder([wire]) for kind, wire in _WIRE.items()
}
_TYPE_OF_TOPIC: Final[dict[str, Any]] = {topic: kind.__struct_config__.tag for topic, kind in KINDS.items()}
_ENCODER = msgspec.json.Encoder()


def decode(
    raw: bytes | None,
    *,
    topic: str | None = None,
    default_type: str | None = None,
    timestamp: int | None = None,
    position: Position | None = None,
    record_bytes: int = RECORD_BYTES,
    json_depth: int = JSON_DEPTH,
) -> PatientEvent | TimeMoved:
    """Return the event of one record.

    ``topic`` is a key of ``KINDS``: only its events (and ``time``) are taken and ``type`` may be left out. Without a
    topic every event but a merge is taken, and one without ``type`` is a ``default_type``. ``available_at`` is the
    record's own, else the broker's ``timestamp`` (ms; None or negative = it has none), else when it happened.

    Raises:
        InputError: with a reason of ``REASONS``.
    """
    if raw is None:
        raise InputError("tombstone", "expected a JSON object, found a record without a value")
    check_bounds(raw, record_bytes, json_depth)
    wire = _parse(raw, _TYPE_OF_TOPIC[topic] if topic else default_type)
    check_keys(raw)
    kind = _EVENT[type(wire)]
    if topic and kind is not TimeMoved and kind is not KINDS[topic]:
        raise InputError("wrong_topic", f"type: expected {_TYPE_OF_TOPIC[topic]!r} or 'time' in the topic of {topic}")
    event: PatientEvent | TimeMoved = _event(kind, wire, timestamp, position)
    return event


def encode(event: Event | TimeMoved, *, with_position: bool = False) -> bytes:
    """Return the event as one line of canonical JSON, without its newline; ``decode_journal`` also reads positions.

    >>> encode(TimeMoved(at=0))
    b'{"type":"time","at":"1970-01-01T00:00:00.000Z"}'
    """
    if isinstance(event, Ticked):
        return _ENCODER.encode(event)
    values = msgspec.structs.asdict(event)
    if not with_position:
        del values["position"]
    for name in _TIMES & values.keys():
        if values[name] is not None:
            values[name] = rfc3339(values[name])
    if isinstance(event, Encounter):
        values["conditions"] = tuple(
            _Condition(one.code, None if one.since is None else rfc3339(one.since)) for one in event.conditions
        )
    return _ENCODER.encode(_WIRE[type(event)](**values))


def decode_journal(line: bytes) -> Event | TimeMoved:
    """Return what ``encode`` wrote, ticks, merges and positions included. Only for what this program stored."""
    wire = _JOURNAL.decode(line)
    event: Event | TimeMoved = (
        wire if isinstance(wire, Ticked) else _event(_EVENT[type(wire)], wire, None, wire.position)
    )
    return event


def _parse(raw: bytes, default_type: str | None) -> Any:
    try:
        if default_type:
            try:
                return _ONE[default_type].decode(raw)
            except msgspec.ValidationError as error:
                if not str(error).startswith("Invalid value") or not str(error).endswith("`$.type`"):
                    raise
        return _ANY.decode(raw)
    except msgspec.ValidationError as error:
        if str(error).endswith("`$.type`"):
            raise InputError("unknown_type", "type: expected the type of an event") from error
        reason, field = fault(error)
        raise InputError(reason, f"{field}: {REASONS[reason]}") from error
    except msgspec.DecodeError as error:
        raise InputError("json", "expected one JSON object") from error


def _event(kind: Any, wire: Any, timestamp: int | None, position: Position | None) -> Any:
    values = msgspec.structs.asdict(wire)
    values["position"] = position
    for name in _TIMES & values.keys():
        if values[name] is not None:
            values[name] = _instant(name, values[name])
    if kind is TimeMoved:
        return kind(**values)
    if "conditions" in values:
        values["conditions"] = tuple(
            Condition(one.code, None if one.since is None else _instant("since", one.since)) for one in wire.conditions
        )
    if values["available_at"] is None:
        happened = values.get("effective_at", values.get("at"))
        values["available_at"] = happened if timestamp is None or timestamp < 0 else timestamp
    check_identity(values["patient_id"])
    if (
        kind is Observation
        and values["value"] is None
        and not values["value_text"]
        and values["status"] not in SILENT_STATUSES
    ):
        raise InputError("no_value", "value, value_text: expected one of them")
    return kind(**values)


def _instant(name: str, text: str) -> int:
    try:
        return parse_time(text)
    except InputError as error:
        raise InputError(error.reason, f"{name}: {error}") from error
