"""What each patient's events were, as canonical NDJSON: ``explain`` runs them again."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from detector.events import Event, Ticked
from pipelines.formats import canonical
from pipelines.ticks import NO_TIME


def journal(events: Iterable[Event], ticked: int) -> list[tuple[str, bytes]]:
    """Each patient's events as NDJSON, a tick before an event wherever time was ticked on since the one before.

    ``ticked`` is the last tick before these events.
    """
    lines: defaultdict[str, list[bytes]] = defaultdict(list)
    told: dict[str, int] = {}
    for event in events:
        if isinstance(event, Ticked):
            ticked = event.at
            continue
        mine = lines[event.patient_id]
        if ticked != NO_TIME and told.get(event.patient_id) != ticked:
            told[event.patient_id] = ticked
            mine.append(canonical.encode(Ticked(ticked)))
        mine.append(canonical.encode(event, with_position=True))
    return [(patient_id, b"\n".join([*mine, b""])) for patient_id, mine in lines.items()]
