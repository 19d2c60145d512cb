"""From the records of one poll to the events of one partition: whatever is no event here leaves as a dead letter."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple
from zoneinfo import ZoneInfo

from msgspec import structs

from detector.catalogue.signals import Catalogue
from detector.errors import InputError
from detector.events import Merged, Observation, PatientEvent, Position, TimeMoved
from pipelines.deadletters import keep
from pipelines.formats import NOTHING, Decode, Decoded, Site, canonical, code_of_topic, codes_of_topic, decoder
from pipelines.horizon import Horizon
from pipelines.kafka_clients import LARGEST_RECORD
from pipelines.settings import Limits, Settings
from pipelines.sources import RawRecord
from pipelines.store import Work

log = logging.getLogger(__name__)

RANK: dict[type, int] = {kind: rank for rank, kind in enumerate(canonical.KINDS.values())}
OWN = (b'{"type":"time"', b'{"type":"acknowledgement"')
"""How a record of our own begins (``publish``, ``ack``): canonical whatever the format beside it."""


class TakenIn(NamedTuple):
    """The usable events with their records, in order; (topic, reason) of every part that is none; (topic, remark)."""

    usable: list[tuple[RawRecord, PatientEvent | TimeMoved]]
    rejected: list[tuple[str, str]]
    remarks: list[tuple[str, str]]


def decoders(settings: Settings, catalogue: Catalogue) -> Mapping[str | None, Decode]:
    """The decoder of each role whose format is not canonical, or which has codes of its own; None = the role of a file,
    which has all events.
    """
    if settings.source == "file":
        names: dict[str | None, str] = {None: settings.file.format}
    else:
        names = dict(settings.kafka.formats.model_dump().items())
    found: dict[str | None, Decode] = {}
    for role, name in names.items():
        topic = settings.file.codes_of if role is None else role
        own = codes_of_topic(settings, topic)
        if name != "canonical":
            found[role] = decoder(name, Site(
                catalogue, {*settings.code_map, *own}, ZoneInfo(settings.timezone), settings.limits.record_bytes,
                settings.limits.json_depth, settings.hl7v2, topic,
            ))  # fmt: skip
        elif own and topic is not None:
            found[role] = _Mapped(role, topic, own, settings.limits)
    return found


class _Mapped:
    """Canonical records of a topic with codes of its own; ``role`` None = of a file, which may have events of every topic."""

    def __init__(self, role: str | None, topic: str, own: frozenset[str], limits: Limits) -> None:
        self._role, self._topic, self._own, self._limits = role, topic, own, limits

    def __call__(self, raw: bytes | None, *, timestamp: int | None = None, position: Position | None = None) -> Decoded:
        event = canonical.decode(
            raw, topic=self._role, timestamp=timestamp, position=position, record_bytes=self._limits.record_bytes,
            json_depth=self._limits.json_depth,
        )  # fmt: skip
        if isinstance(event, Observation) and (code := code_of_topic(self._topic, event.code)) in self._own:
            event = structs.replace(event, code=code)
        return Decoded((event,))


def take_in(
    raws: Sequence[RawRecord],
    work: Work,
    limits: Limits,
    elsewhere: Callable[[set[str]], set[str]],
    decode: Mapping[str | None, Decode],
    horizon: Horizon,
) -> TakenIn:
    """Decode the records of one partition, in order; the events of one record come in the one order.

    Args:
        raws: as they were read.
        work: takes the dead letters, one a record, and the marks of those that came back and were read again.
        limits: of bytes and JSON depth.
        elsewhere: which of some patients another partition number has: their history would be cut in two.
        decode: the decoder of each role that is not canonical.
        horizon: beyond which a record is refused as ``future``, and a stamp of the broker moves no time.
    """
    taken = TakenIn([], [], [])
    kept: set[int] = set()

    def refuse(raw: RawRecord, reason: str) -> None:
        taken.rejected.append((raw.topic, reason))
        if id(raw) not in kept:
            kept.add(id(raw))
            log.warning("record_refused topic=%s partition=%d offset=%d reason=%s", *raw.position, reason)
            keep(work, raw, reason)

    for raw in raws:
        if raw.redriven is not None:
            work.redriven.append(raw.redriven)
        foreign = decode.get(raw.role)
        try:
            if foreign is None or (raw.value is not None and raw.value.startswith(OWN)):
                event = canonical.decode(
                    raw.value,
                    topic=raw.role,
                    timestamp=raw.timestamp,
                    position=raw.position,
                    record_bytes=limits.record_bytes if raw.role != "merges" else LARGEST_RECORD,
                    json_depth=limits.json_depth,
                )
                _check_key(raw, event)
                taken.usable.append((raw, event))
            else:
                decoded = foreign(raw.value, timestamp=raw.timestamp, position=raw.position)
                _take_parts(raw, decoded, taken, refuse)
        except InputError as error:
            refuse(raw, error.reason)
    theirs = elsewhere({event.patient_id for _, event in taken.usable if not isinstance(event, TimeMoved)})
    horizon.see(max(_time_of(event), raw.timestamp or 0) for raw, event in taken.usable)
    mine: list[tuple[RawRecord, PatientEvent | TimeMoved]] = []
    for raw, event in taken.usable:
        if not isinstance(event, TimeMoved) and event.patient_id in theirs:
            refuse(raw, "partition_mismatch")
        # A handover was judged where it was made, and it is the whole history of a patient.
        elif horizon.refuses(_time_of(event)) and not isinstance(event, Merged):
            refuse(raw, "future")
        elif raw.timestamp is not None and horizon.refuses(raw.timestamp):
            taken.remarks.append((raw.topic, "stamp_ahead"))
            mine.append((raw._replace(timestamp=None), event))
        else:
            if horizon.is_ahead(_time_of(event)):
                taken.remarks.append((raw.topic, "ahead_of_clock"))
            mine.append((raw, event))
    return taken._replace(usable=mine)


def _take_parts(raw: RawRecord, decoded: Decoded, taken: TakenIn, refuse: Callable[[RawRecord, str], None]) -> None:
    """Take what one record says that is usable; the rest leaves part by part."""
    mine: list[PatientEvent | TimeMoved] = []
    for event in decoded.events:
        try:
            _check_key(raw, event)
        except InputError as error:
            refuse(raw, error.reason)
        else:
            mine.append(event)
    if len(mine) > 1:
        mine.sort(key=_place)
    taken.usable.extend((raw, event) for event in mine)
    for part in decoded.unread or ((NOTHING,) if not decoded.events else ()):
        if part.refused:
            refuse(raw, part.reason)
        else:
            taken.rejected.append((raw.topic, part.reason))
    taken.remarks.extend((raw.topic, remark) for remark in decoded.remarks)


def _check_key(raw: RawRecord, event: PatientEvent | TimeMoved) -> None:
    if raw.role is not None and not isinstance(event, TimeMoved) and raw.key != event.patient_id.encode():
        raise InputError("key_mismatch", "key: expected the patient_id of the record")


def _time_of(event: PatientEvent | TimeMoved) -> int:
    return event.at if isinstance(event, TimeMoved) else event.available_at


def _place(event: PatientEvent | TimeMoved) -> tuple[int, int]:
    return _time_of(event), RANK.get(type(event), len(RANK))
