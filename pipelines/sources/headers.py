"""What we ourselves write into the headers of records, and read back. Anybody may write there: nothing is believed."""

from __future__ import annotations

from typing import Final

from kafka.consumer.fetcher import ConsumerRecord

from pipelines.technical import CANARY_PATIENT

REDRIVEN: Final = "itbwatch-dead-letter"
"""The id of the dead letter that a redriven record was."""

TRIP: Final = "itbwatch-canary"
"""The trip of a canary's record."""

LONGEST: Final = 18  # digits; both numbers fit 64 bits


def redriven(record: ConsumerRecord) -> int | None:
    """The id of the dead letter. None = it is none, or the number is none that a database gave."""
    return _number(record, REDRIVEN)


def trip(record: ConsumerRecord) -> int | None:
    """The trip of a canary. None = it is a patient's record, whatever its headers say."""
    if not record.headers or record.key is None or not record.key.startswith(CANARY_PATIENT.encode()):
        return None
    return _number(record, TRIP)


def _number(record: ConsumerRecord, header: str) -> int | None:
    value = next((value for name, value in record.headers if name == header), None)
    return int(value) if value is not None and value.isdigit() and len(value) <= LONGEST else None
