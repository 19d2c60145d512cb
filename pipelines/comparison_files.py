"""What ``compare`` compares: two replays, a replay with a shadow, or a store in which a plan ran in the shadow."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import polars as pl

from detector.clock import DAY, NEVER, rfc3339
from detector.errors import ConfigError
from detector.events import EARLIEST, Context, Encounter, Observation, Pump
from detector.records import AlertRecord
from pipelines.burden import exposures
from pipelines.comparing import Side, side
from pipelines.dataset import InputRefused
from pipelines.formats.times import parse_time
from pipelines.results import ALERTS, SHADOW, SUMMARY
from pipelines.run_again import events_of
from pipelines.store import ShadowRun, Store


class Compared(NamedTuple):
    """Two sides over the same stays. ``since`` and ``upto`` (RFC 3339) bound what a store was compared on."""

    champion: Side
    challenger: Side
    patient_days: float
    since: str | None = None
    upto: str | None = None


def of_folders(champion: Path, challenger: Path | None) -> Compared:
    """Two folders that ``replay`` wrote, or one that ``replay --shadow`` wrote.

    Raises:
        ConfigError: a folder or its file is not there.
        InputRefused: a file is no such file, or the two are not of the same stays.
    """
    summary = _summary(champion)
    if challenger is None:
        other = side(
            f"{champion.name} (shadow)", _records(champion / SHADOW, "a replay with --shadow, or a second folder")
        )
        return Compared(side(champion.name, _records(champion / ALERTS)), other, summary["patient_days"])
    second = _summary(challenger)
    for name in ("stays", "patient_days"):
        if summary[name] != second[name]:
            raise InputRefused(
                f"{challenger}: {name} {second[name]}; expected {summary[name]} as in {champion}: two replays of the same"
                " inputs; replay both from the same files"
            )
    first, other = (side(str(folder), _records(folder / ALERTS)) for folder in (champion, challenger))
    return Compared(first, other, summary["patient_days"])


def of_store(store: Store) -> Compared:
    """What the service published against what the plan in its shadow would have, since that plan began, as far as the
    journal reaches: it gives the patient-days.

    Raises:
        InputRefused: no plan ran in the shadow.
        StoreError: the store cannot be read.
    """
    runs = store.shadow_runs()
    if not runs:
        raise InputRefused(
            f"store {store.name}: no plan ran in the shadow; expected one; set shadow in config.yaml and run `stream`"
        )
    events = {patient_id: events_of(store.journal(patient_id)) for patient_id in store.journal_patients()}
    where = store.partitions_of(list(events))
    times = [event.available_at for mine in events.values() for event in mine if isinstance(event, _OF_PATIENTS)]
    kept_from, upto = min(times, default=EARLIEST), max(times, default=EARLIEST)
    since = {number: max(run.since, kept_from) for number, run in runs.items()}
    days = 0.0
    for patient_id, mine in events.items():
        begun = since.get(where.get(patient_id, -1))
        if begun is not None:
            stays = exposures([event for event in mine if isinstance(event, _OF_PATIENTS)])
            days += sum(max(0, stay.end - max(stay.start, begun)) for stay in stays) / DAY
    published = [_record(one) for one in store.alerts_since(rfc3339(min(since.values())))]
    placed = store.partitions_of(sorted({one.patient_id for one in published}))
    champion = [one for one in published if parse_time(one.at) > since.get(placed.get(one.patient_id, -1), NEVER)]
    challenger = [one for one in _shadowed(store, runs) if parse_time(one[1].at) > since[one[0]]]
    return Compared(
        side("published", champion), side("shadow", (one for _, one in challenger)), round(days, 2),
        rfc3339(min(since.values())), rfc3339(upto),
    )  # fmt: skip


_OF_PATIENTS = (Encounter, Pump, Context, Observation)


def _shadowed(store: Store, runs: Mapping[int, ShadowRun]) -> Iterable[tuple[int, AlertRecord]]:
    for number, run in runs.items():
        for one in store.shadow_alerts(number, run.generation):
            yield number, _record(one)


def _record(raw: bytes | str) -> AlertRecord:
    return msgspec.json.decode(raw, type=AlertRecord)


def _records(path: Path, expected: str = "a folder that replay wrote") -> list[AlertRecord]:
    if not path.is_file():
        raise ConfigError([f"{path}: no such file; expected {expected}; correct the path"])
    try:
        return [_record(one) for one in pl.read_parquet(path, columns=["alert"])["alert"]]
    except (pl.exceptions.PolarsError, msgspec.DecodeError, OSError) as error:
        raise InputRefused(f"{path}: {type(error).__name__}; expected the alerts of a replay; replay again") from error


def _summary(folder: Path) -> dict[str, Any]:
    path = folder / SUMMARY
    if not path.is_file():
        raise ConfigError([f"{path}: no such file; expected a folder that replay wrote; correct the path"])
    try:
        read: dict[str, Any] = msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
        return {name: read[name] for name in ("stays", "patient_days")}
    except (msgspec.DecodeError, KeyError) as error:
        raise InputRefused(f"{path}: {type(error).__name__}; expected the summary of a replay; replay again") from error
