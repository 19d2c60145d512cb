"""Records that could not be used: kept in the store for ``redrive``, and told to the dead-letter topic or file."""

from __future__ import annotations

import base64
from typing import Final

import msgspec

from pipelines.sources import RawRecord
from pipelines.store import DeadLetter, Outgoing, Work
from pipelines.ticks import wall_ms

LARGEST_IN_LETTER: Final = 512 << 10  # bytes of key and value: as base64 they still fit a topic's default message size
LARGEST_KEY: Final = 1 << 10  # bytes: no patient_id is longer (256 characters of UTF-8)


def keep(work: Work, raw: RawRecord, reason: str) -> None:
    """Keep a record aside with its bytes: in the store for ``redrive``, and for whoever reads the dead letters.

    What is published of it is bounded, so that it can be published; what it leaves out is null, with its length beside.
    """
    letter = DeadLetter(
        0, raw.topic, raw.partition, raw.offset, reason, raw.timestamp, raw.key, raw.value, raw.whole_bytes
    )
    work.deadletters.append(letter)
    key = raw.key if raw.key is not None and len(raw.key) <= LARGEST_KEY else None
    value_bytes = len(raw.value) if raw.value is not None and raw.whole_bytes is None else raw.whole_bytes
    value = raw.value if raw.value is not None and len(raw.value) + len(key or b"") <= LARGEST_IN_LETTER else None
    payload = {
        "type": "deadletter",
        "reason": reason,
        "topic": raw.topic,
        "partition": raw.partition,
        "offset": raw.offset,
        "timestamp": raw.timestamp,
        "key": _base64(key),
        "key_bytes": None if raw.key is None else len(raw.key),
        "value": _base64(value),
        "value_bytes": value_bytes,
        "truncated": raw.whole_bytes is not None,
    }
    stamp = raw.timestamp if raw.timestamp is not None and raw.timestamp >= 0 else wall_ms()
    work.outgoing.append(Outgoing("deadletters", key, msgspec.json.encode(payload), stamp))


def _base64(raw: bytes | None) -> str | None:
    return None if raw is None else base64.b64encode(raw).decode()
