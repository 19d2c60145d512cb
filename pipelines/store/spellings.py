"""Codes and units of a feed that nobody has mapped: how each is spelled, and how often it came.

A count says that something is missing, this table what. It holds no patient, time of a result or value, and it is bounded:
what is beyond is counted under an empty code. The counts are committed with the positions, so that none is counted twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Final, NamedTuple

import sqlalchemy as sa

from detector.records import Rejected
from pipelines.store.tables import Foreign, unmapped

REASONS: Final = ("unknown_code", "unknown_unit", "suspect_unit")
"""Refusals that a site mends by mapping a code, by adding a unit, or at the feed."""

MOST_SPELLINGS: Final = 10_000
LONGEST: Final = 256  # characters of a code and of a unit


class Spelling(NamedTuple):
    """How a result was named. ``topic`` is where it came by, ``signal`` is empty for an unknown code, ``unit`` without one;
    an empty ``code`` stands for all that the table had no place for.
    """

    topic: str
    reason: str
    signal: str
    code: str
    unit: str


class Unmapped(NamedTuple):
    """A spelling, how many results were refused with it, and when the first and the newest were stored (ms UTC)."""

    spelling: Spelling
    results: int
    first_at: int
    last_at: int


def spellings(rejected: Iterable[Rejected]) -> Counter[Spelling]:
    """The spellings among what the core refused."""
    return Counter(
        Spelling(
            one.position.topic if one.position is not None else "",
            one.reason, one.signal or "", one.code[:LONGEST], (one.unit or "")[:LONGEST],
        )
        for one in rejected if one.reason in REASONS
    )  # fmt: skip


def note(connection: sa.Connection, found: Counter[Spelling], stored_at: int) -> None:
    """Add counts; a spelling that is new when the table is full is counted with the others of its topic and reason."""
    if not found:
        return
    stored = connection.scalar(sa.select(sa.func.count()).select_from(unmapped)) or 0
    if stored + len(found) > MOST_SPELLINGS:
        found = _fitting(connection, found, MOST_SPELLINGS - stored)
    rows = [one._asdict() | {"results": results, "at": stored_at} for one, results in sorted(found.items())]
    connection.execute(_ADD, rows)


def _fitting(connection: sa.Connection, found: Counter[Spelling], room: int) -> Counter[Spelling]:
    fitting: Counter[Spelling] = Counter()
    for one, results in sorted(found.items()):
        here = sa.and_(*(unmapped.c[name] == said for name, said in one._asdict().items()))
        if connection.scalar(sa.select(unmapped.c.results).where(here)) is None:
            room -= 1
            if room < 0:
                fitting[Spelling(one.topic, one.reason, "", "", "")] += results
                continue
        fitting[one] += results
    return fitting


def read(connection: sa.Connection) -> list[Unmapped]:
    """All of it, the most frequent first."""
    query = sa.select(unmapped).order_by(unmapped.c.results.desc(), *(unmapped.c[name] for name in Spelling._fields))
    return [
        Unmapped(Spelling(*(getattr(row, name) for name in Spelling._fields)), row.results, row.first_at, row.last_at)
        for row in connection.execute(query)
    ]


_ADD: Final = sa.text(
    "insert into unmapped (topic, reason, signal, code, unit, results, first_at, last_at)"
    " values (:topic, :reason, :signal, :code, :unit, :results, :at, :at)"
    " on conflict (topic, reason, signal, code, unit) do update"
    " set results = unmapped.results + excluded.results, last_at = excluded.last_at"
).bindparams(*(sa.bindparam(name, type_=Foreign) for name in Spelling._fields))
