"""Formats of live records: bytes to events, one module each, found by its name.

``canonical`` is the project's own JSON: one record, one event. The formats of hospitals say several things in one record
(a panel, a Bundle, a message), so their port is wider: a record becomes any number of events, and every part of it that
is no event leaves with a reason that is counted. The parts that can be used are taken; where a part had to be refused,
the record is kept once as a dead letter with its original bytes. Redriving it changes nothing but what was mended,
because duplicates change nothing.

A format is a module here with ``REASONS`` (its own, besides those of canonical JSON) and ``decoder(site) -> Decode``.
"""

from __future__ import annotations

from collections.abc import Collection
from importlib import import_module
from typing import NamedTuple, Protocol
from zoneinfo import ZoneInfo

from detector.catalogue.signals import Catalogue
from detector.events import PatientEvent, Position, TimeMoved
from pipelines.settings import Hl7v2, Settings

FORMATS = ("canonical", "fhir", "hl7v2")
"""Words for ``kafka.formats`` and ``file.format``."""

REMARKS = {
    "doubled_hour": "a time without an offset in the hour that a clock change runs through twice: its first pass",
    "time_passed_over": "a time of filing that names no instant: the message's or the broker's was taken",
    "stamp_ahead": "the broker's stamp lies beyond the host's clock: it moved no time",
    "ahead_of_clock": "beyond the host's clock, and taken because most records are: the clock is wrong",
}
"""What is worth a count though the event was taken: values of a metric label."""


class Site(NamedTuple):
    """What a format needs to know of the site.

    ``code_map`` holds the site's own codes, as config.yaml names them; what they stand for is in the ``catalogue``
    already. Those of one topic stand there under ``code_of_topic``; ``topic`` is the role of the one that is read.
    ``timezone`` is that of times without an offset. ``hl7v2`` says where its messages hold what.
    """

    catalogue: Catalogue
    code_map: Collection[str]
    timezone: ZoneInfo
    record_bytes: int
    json_depth: int
    hl7v2: Hl7v2 = Hl7v2()
    topic: str | None = None


def code_of_topic(topic: str, code: str) -> str:
    """What the catalogue calls a code that means something in one topic only."""
    return f"{topic}::{code}"


def codes_of_topic(settings: Settings, topic: str | None) -> frozenset[str]:
    """What the catalogue calls the codes that mean something in one topic only; None = no topic has any."""
    return frozenset() if topic is None else frozenset(code_of_topic(topic, one) for one in settings.kafka.code_maps.of(topic))  # fmt: skip


class Unread(NamedTuple):
    """A part of a record that is no event. ``where`` names it (a path, a segment), never a value of it.

    ``refused`` True = it ought to have been one, and the record is worth keeping; False = it is of a kind that nothing
    is read from (another resource, another type of message), and is only counted.
    """

    reason: str
    where: str
    refused: bool = True


NOTHING = Unread("empty", "the whole record", refused=False)
"""A record without any part, such as an empty Bundle."""


class Decoded(NamedTuple):
    """What one record says; ``remarks`` are words of ``REMARKS``, one for each time it holds."""

    events: tuple[PatientEvent | TimeMoved, ...]
    unread: tuple[Unread, ...] = ()
    remarks: tuple[str, ...] = ()


class Decode(Protocol):
    """The decoder of one format."""

    def __call__(self, raw: bytes | None, *, timestamp: int | None = None, position: Position | None = None) -> Decoded:
        """What a record says. ``timestamp`` is the broker's, ms; None or negative = it has none.

        Raises:
            InputError: nothing of the record can be read; its message names fields, never values.
        """


def decoder(format_name: str, site: Site) -> Decode:
    """The decoder of a format that is not canonical."""
    made: Decode = import_module(f"{__name__}.{format_name}").decoder(site)
    return made


def reasons() -> dict[str, str]:
    """Every reason that decoding gives, of all formats: values of the metric label ``reason``."""
    found = {
        NOTHING.reason: "a record that holds no part at all",
        "ambiguous_code": "two codes of one result name two signals",
    }
    for name in FORMATS:
        found |= {word: text for word, text in import_module(f"{__name__}.{name}").REASONS.items() if word not in found}
    return found
