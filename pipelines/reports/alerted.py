"""The stays of a replay in which something was alerted, and how their pages are called."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from detector.records import SEVERITIES, AlertRecord
from detector.writing import NEWEST
from pipelines.formats.times import parse_time
from pipelines.pseudonym import pseudonym


@dataclass
class Alerted:
    """One stay with all its records in their order. ``name`` is its pseudonym: what files and links call it."""

    patient_id: str
    stay_id: str | None
    name: str
    records: list[AlertRecord] = field(default_factory=list)

    @property
    def file(self) -> str:
        return f"{self.name}.html"

    @property
    def worst(self) -> AlertRecord:
        """The first record at the highest severity that the stay reached."""
        return min(self.records, key=lambda one: (-SEVERITIES[one.severity], one.at))

    def alerts(self) -> list[list[AlertRecord]]:
        """The records of each alert, the most severe alert first, then the oldest."""
        by_id: dict[str, list[AlertRecord]] = {}
        for record in self.records:
            by_id.setdefault(record.alert_id, []).append(record)
        return sorted(by_id.values(), key=lambda mine: (-max(SEVERITIES[one.severity] for one in mine), mine[0].at))


def alerted_stays(records: Iterable[AlertRecord], key: bytes) -> list[Alerted]:
    """Every stay with a record, the most severe first, then by time. ``key`` is the site's identity key."""
    stays: dict[tuple[str, str | None], Alerted] = {}
    for record in records:
        whose = record.patient_id, record.stay_id
        stay = stays.get(whose)
        if stay is None:
            stay = stays[whose] = Alerted(*whose, pseudonym(key, *whose))
        stay.records.append(record)
    return sorted(stays.values(), key=lambda one: (-SEVERITIES[one.worst.severity], one.worst.at, one.name))


def cited_readings(records: Iterable[AlertRecord]) -> set[tuple[str, int, float]]:
    """(signal, effective_at in ms UTC, value) of every reading that a rule cites in them."""
    return {
        (line.signal, parse_time(line.effective_at), line.value)
        for record in records for line in record.evidence if line.value is not None and line.rule != NEWEST
    }  # fmt: skip


def at_its_worst(records: Sequence[AlertRecord]) -> AlertRecord:
    """The record of an alert to be read first: at its most severe, the one with the most evidence that rules cite; of
    several, the first. What an alert cited when it rose is often not yet the laboratory, and what it cites at its end has
    mostly gone stale.
    """

    def rank(one: AlertRecord) -> tuple[bool, int, int, int]:
        cited = {(line.signal, line.effective_at, line.value) for line in one.evidence if line.rule != NEWEST}
        return one.state != "resolved", SEVERITIES[one.severity], len(cited), -one.sequence

    return max(records, key=rank)
