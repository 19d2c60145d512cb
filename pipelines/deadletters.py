"""Records that could not be used: kept in the store for ``redrive``, and told to the dead-letter topic or file."""

from __future__ import annotations

import base64
from typing import Final

import msgspec

from pipelines.sources import RawRecord
from pipelines.store import DeadLetter, Outgoing, Work
from pipelines.ticks import wall_ms

LARGEST_IN_LETTER: Final = 512 << 10  # bytes: as base64 it still fits a topic's default message size


def keep(work: Work, raw: RawRecord, reason: str) -> None:
    """Keep a record aside with its bytes: in the store for ``redrive``, and for whoever reads the dead letters."""
    letter = DeadLetter(0, raw.topic, raw.partition, raw.offset, reason, raw.timestamp, raw.key, raw.value)
    work.deadletters.append(letter)
    value = raw.value if raw.value is not None and len(raw.value) <= LARGEST_IN_LETTER else None
    payload = {
        "type": "deadletter",
        "reason": reason,
        "topic": raw.topic,
        "partition": raw.partition,
        "offset": raw.offset,
        "timestamp": raw.timestamp,
        "key": _base64(raw.key),
        "value": _base64(value),
        "value_bytes": None if raw.value is None else len(raw.value),
    }
    stamp = raw.timestamp if raw.timestamp is not None and raw.timestamp >= 0 else wall_ms()
    work.outgoing.append(Outgoing("deadletters", raw.key, msgspec.json.encode(payload), stamp))


def _base64(raw: bytes | None) -> str | None:
    return None if raw is None else base64.b64encode(raw).decode()
