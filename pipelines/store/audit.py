"""What was done to a deployment, as a chain: every record holds the hash of the one before it.

A record that was changed, taken out or put between breaks the chain at a place that can be named. Who may write the
database could make a whole new chain, or cut its end off: the hash of the newest record, noted elsewhere (the service
logs it at each start), tells that too.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Literal, NamedTuple

import sqlalchemy as sa

from pipelines.store.postgresql import CHAINING, take_turn
from pipelines.store.tables import audit

Happened = Literal["store_made", "store_migrated", "plan", "acknowledgement", "redriven", "purge"]
Detail = Mapping[str, str | int | None]

BEGINNING = "0" * 64
"""What the first record holds in the place of the hash of one before."""


class AuditRecord(NamedTuple):
    """``number`` = 1, 2, ...; ``at`` is the host's time (ms UTC); ``detail`` is a JSON object; hashes are hexadecimal."""

    number: int
    at: int
    event: str
    detail: str
    previous: str
    hash: str


class Broken(NamedTuple):
    """The first link that does not hold."""

    number: int
    why: str


def digest(number: int, at: int, event: str, detail: str, previous: str) -> str:
    """SHA-256 of a record and of the hash before it."""
    return hashlib.sha256(json.dumps([number, at, event, detail, previous]).encode()).hexdigest()


def append(connection: sa.Connection, entries: Iterable[tuple[Happened, Detail]], at: int) -> None:
    """Add to the end, in the transaction of what it tells. Of two writers at once the second waits for the first."""
    take_turn(connection, CHAINING)
    last = connection.execute(sa.select(audit.c.number, audit.c.hash).order_by(audit.c.number.desc()).limit(1)).first()
    number, previous = (last.number, last.hash) if last is not None else (0, BEGINNING)
    for event, what in entries:
        number += 1
        detail = json.dumps(dict(what), sort_keys=True)
        made = AuditRecord(number, at, event, detail, previous, digest(number, at, event, detail, previous))
        connection.execute(audit.insert().values(made._asdict()))
        previous = made.hash


def read(connection: sa.Connection) -> Iterator[AuditRecord]:
    columns = [audit.c[name] for name in AuditRecord._fields]
    for row in connection.execute(sa.select(*columns).order_by(audit.c.number)):
        yield AuditRecord(*row)


def first_broken(records: Iterable[AuditRecord]) -> Broken | None:
    """The first link that does not hold. None = the chain is whole, and begins where the store began."""
    number, previous = 0, BEGINNING
    for one in records:
        number += 1
        if one.number != number:
            return Broken(number, f"is missing: record {one.number} follows")
        if one.previous != previous:
            return Broken(number, f"does not follow record {number - 1}")
        if one.hash != digest(*one[:5]):
            return Broken(number, "is not what was written")
        previous = one.hash
    return None if number else Broken(1, "is missing: the chain is empty")
