"""The canonical replay tables: observations and stays as Parquet, CSV or NDJSON, context and pumps as NDJSON.

A row that cannot be an event is counted with its reason and never fatal; a file that cannot be a table is refused as a
whole before anything is written. An NDJSON input may hold every type of event (what ``simulate`` writes), tables only
observations. Times without an offset are UTC in tables and refused in NDJSON (DESIGN.md section 2).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any, get_args

import polars as pl
from msgspec import structs

from detector.errors import InputError
from detector.events import EARLIEST, LATEST, Encounter, Merged, Observation, PatientEvent, Position, Status, TimeMoved
from pipelines.dataset import OBSERVATION_COLUMNS, RANK, SEXES, SYNTHETIC, Dataset, InputRefused, Skipped, existing
from pipelines.formats import code_of_topic, codes_of_topic
from pipelines.formats.canonical import SILENT_STATUSES, decode
from pipelines.formats.json_records import LONGEST_IDENTITY
from pipelines.outages import BEGINS
from pipelines.outages import decode as decode_outage
from pipelines.settings import Settings
from pipelines.sieve import Sieve
from pipelines.tables import (
    FAULT,
    NUMBER,
    TEXT,
    TIME,
    Columns,
    kind_of,
    read_parts,
    read_table,
    refuse_if_none_is_usable,
)

STATUSES = get_args(Status)
TOPIC_OF = {"observation": "observations", "pump": "pumps", "context": "context"}
OBSERVATIONS = Columns(
    {"patient_id": TEXT, "code": TEXT, "value": NUMBER, "effective_at": TIME},
    {"stay_id": TEXT, "value_text": TEXT, "unit": TEXT, "available_at": TIME, "status": TEXT, "observation_id": TEXT,
     "site": TEXT, "reference_high": NUMBER, "source": TEXT},
)  # fmt: skip
TELLING = Columns(
    {"patient_id": TEXT, "code": TEXT, "value": NUMBER, "effective_at": TIME},
    {"stay_id": TEXT, "unit": TEXT, "available_at": TIME},
)
"""What shows whether anything can be said of a patient."""
STAYS = Columns(
    {"stay_id": TEXT, "patient_id": TEXT, "admitted_at": TIME},
    {"discharged_at": TIME, "unit": TEXT, "age_years": NUMBER, "sex": TEXT, "weight_kg": NUMBER},
)


Read = Callable[[Sequence[Path], Path | None, Path | None], Dataset]


def reader(settings: Settings) -> Read:
    """The ``read`` of a site with codes of its own (``file.codes_of``)."""
    topic = settings.file.codes_of
    own = codes_of_topic(settings, topic)
    if topic is None or not own:
        return read
    known = {code: code_of_topic(topic, code) for code in settings.kafka.code_maps.of(topic)}

    def mapped(inputs: Sequence[Path], stays: Path | None, context: Path | None) -> Dataset:
        dataset = read(inputs, stays, context)
        dataset.observations = dataset.observations.with_columns(pl.col("code").replace(known))
        dataset.others = [(place, _mapped(event, known)) for place, event in dataset.others]
        return dataset

    return mapped


def _mapped(event: PatientEvent, known: Mapping[str, str]) -> PatientEvent:
    if not isinstance(event, Observation) or event.code not in known:
        return event
    return structs.replace(event, code=known[event.code])


def can_be_sieved(inputs: Sequence[Path], settings: Settings | None) -> bool:
    """Whether the inputs are tables in the codes of the catalogue: what NDJSON says is only known once it is decoded."""
    own = codes_of_topic(settings, settings.file.codes_of) if settings is not None else ()
    return not own and not any(map(_is_ndjson, inputs))


def read(inputs: Sequence[Path], stays: Path | None, context: Path | None, sieve: Sieve | None = None) -> Dataset:
    """Read canonical tables; with a ``sieve`` (and tables alone) only the rows of its patients, the others are counted.

    Raises:
        InputRefused: a file is no such table, or lacks a column.
        ConfigError: a file is not there.
        OSError: a file cannot be read.
    """
    for path in (*inputs, *filter(None, (stays, context))):
        existing(path)
    dataset = Dataset(files=())
    tables = []
    of_no_use: set[Path] = set()
    if sieve is not None:
        dataset.skipped = Skipped()
        for path in inputs:
            if not sum(_look(sieve, part) for part in read_parts(path, TELLING)):
                of_no_use.add(path)  # is refused, or empty: read as ever
    for path in inputs:
        if _is_ndjson(path):
            add_events(dataset, path, "observation")
        else:
            table = read_table(path, OBSERVATIONS) if sieve is None else _kept(dataset, path, sieve.patients, of_no_use)
            dataset.files += (path.name,)
            table = table.with_columns(file=pl.lit(len(dataset.files) - 1, pl.UInt32))
            tables.append(_observations(dataset, path, table))
    if stays is not None:
        _add_stays(dataset, stays)
    if context is not None:
        add_events(dataset, context, "context")
    if tables:
        dataset.observations = pl.concat(tables)
    dataset.__post_init__()
    return dataset


def add_stays_and_context(dataset: Dataset, stays: Path | None, context: Path | None) -> Dataset:
    """Add the files of --stays and --context to a data set of another format.

    Raises:
        InputRefused: a file is no such table, or has no such event.
        ConfigError: a file is not there.
    """
    if stays is not None:
        _add_stays(dataset, existing(stays))
    if context is not None:
        add_events(dataset, context, "context")
    dataset.others.sort(key=itemgetter(0))
    return dataset


def add_events(dataset: Dataset, path: Path, default_type: str, *, others: bool = True) -> set[str]:
    """Add the events of an NDJSON file, ``default_type`` for lines without a type; return the patients it names.

    With ``others`` False an event of another type is counted as ``wrong_topic`` and kept out.

    Raises:
        InputRefused: not one of its lines is such an event.
    """
    existing(path)
    topic = None if others else TOPIC_OF[default_type]
    file = len(dataset.files)
    dataset.files += (path.name,)
    patients: set[str] = set()
    lines = 0
    with path.open("rb") as handle:
        for row, line in enumerate(handle):
            if not line.strip():
                continue
            lines += 1
            try:
                if line.startswith(BEGINS):
                    dataset.outages.append(decode_outage(line))
                    continue
                event = decode(line, topic=topic, default_type=default_type, position=Position(path.name, 0, row))
            except InputError as error:
                dataset.rejected[TOPIC_OF[default_type], error.reason] += 1
                continue
            if not isinstance(event, TimeMoved | Merged):  # a record that only moves time says nothing about a patient
                patients.add(event.patient_id)
                dataset.others.append(((event.available_at, RANK[type(event)], file, row), event))
    if lines and not patients:
        raise InputRefused(
            f"{path}: none of its {lines} lines is a canonical {default_type} event (canonical JSON, one object a line)"
        )
    return patients


def _look(sieve: Sieve, part: pl.DataFrame) -> int:
    """Show a sieve the rows that have a patient, a code and times; how many have."""
    known = pl.col("available_at").fill_null(pl.col("effective_at"))
    part = part.with_columns(known).filter(
        ~_blank("patient_id"), ~_blank("code"), *(pl.col(at).is_between(EARLIEST, LATEST, closed="left") for at in ("effective_at", "available_at"))
    )  # fmt: skip
    sieve.look(part)
    sieve.look_at_spans(part)
    return len(part)


def _kept(dataset: Dataset, path: Path, patients: set[str], of_no_use: set[Path]) -> pl.DataFrame:
    """The rows of these patients, and those that name none; the others are counted as skipped."""
    if path in of_no_use:
        return read_table(path, OBSERVATIONS)
    assert dataset.skipped is not None
    kept = []
    for part in read_parts(path, OBSERVATIONS):
        wanted = part.filter(pl.col("patient_id").is_in(list(patients)) | pl.col("patient_id").is_null())
        dataset.skipped.rows += len(part) - len(wanted)
        dataset.skipped.synthetic |= bool((part["source"] == SYNTHETIC).any())
        kept.append(wanted)
    return pl.concat(kept)


def _observations(dataset: Dataset, path: Path, table: pl.DataFrame) -> pl.DataFrame:
    """The rows that can be events, in the columns of a data set; the others are counted in ``dataset.rejected``.

    Raises:
        InputRefused: there are rows, and none can be.
    """
    identity = pl.col("patient_id")
    table = table.with_columns(
        pl.col("available_at").fill_null(pl.col("effective_at")), pl.col("status").fill_null("final")
    )
    reason = (
        pl.when(pl.col(FAULT).is_not_null()).then(pl.col(FAULT))
        .when(_blank("patient_id") | _blank("code")).then(pl.lit("missing_key"))
        .when((identity.str.len_chars() > LONGEST_IDENTITY) | identity.str.contains(r"\p{Cc}")).then(pl.lit("bad_identity"))
        .when(~pl.col("effective_at").is_between(EARLIEST, LATEST, closed="left").fill_null(False)).then(pl.lit("bad_time"))
        .when(pl.col("available_at!") | ~pl.col("available_at").is_between(EARLIEST, LATEST, closed="left")).then(pl.lit("bad_time"))
        .when(pl.col("value").is_nan() | pl.col("value").is_infinite()).then(pl.lit("not_finite"))
        .when(pl.col("reference_high").is_nan() | pl.col("reference_high").is_infinite()).then(pl.lit("not_finite"))
        .when(pl.col("value!") | pl.col("reference_high!")).then(pl.lit("wrong_type"))
        .when(~pl.col("status").is_in(STATUSES)).then(pl.lit("bad_value"))
        .when(pl.col("value").is_null() & _blank("value_text") & ~pl.col("status").is_in(SILENT_STATUSES)).then(pl.lit("no_value"))
    )  # fmt: skip
    table = table.with_columns(reason.alias("reason"))
    reasons = Counter({str(word): count for word, count in table["reason"].drop_nulls().value_counts().iter_rows()})
    dataset.rejected.update({("observations", word): count for word, count in reasons.items()})
    usable = table.filter(pl.col("reason").is_null()).select(*OBSERVATION_COLUMNS)
    refuse_if_none_is_usable(path, len(table), len(usable), reasons)
    return usable


def _add_stays(dataset: Dataset, path: Path) -> None:
    """Add the admission and the discharge of each row of a stays table.

    Raises:
        InputRefused: it is no such table, or has rows of which none is a stay.
    """
    file = len(dataset.files)
    dataset.files += (path.name,)
    table = read_table(path, STAYS)
    reasons: Counter[str] = Counter()
    for row in table.iter_rows(named=True):
        try:
            if row[FAULT] is not None:
                raise InputError(row[FAULT], "the row cannot be read")
            if row["admitted_at"] is None or row["discharged_at!"]:
                raise InputError("bad_time", "admitted_at, discharged_at: expected RFC 3339 times")
            events = _stay(row, Position(path.name, 0, row["row"]))
        except InputError as error:
            reasons[error.reason] += 1
        else:
            dataset.others += [((event.available_at, RANK[Encounter], file, row["row"]), event) for event in events]
    dataset.rejected.update({("encounters", word): count for word, count in reasons.items()})
    refuse_if_none_is_usable(path, len(table), len(table) - reasons.total(), reasons)


def _stay(row: dict[str, Any], position: Position) -> list[Encounter]:
    if not row["stay_id"]:
        raise InputError("missing_key", "stay_id: expected a non-empty string")
    ids = {"patient_id": row["patient_id"], "stay_id": row["stay_id"], "position": position}
    start, end = row["admitted_at"], row["discharged_at"]
    events = [
        Encounter(**ids, event="admitted", at=start, available_at=start, unit=row["unit"], age_years=row["age_years"],
                  sex=SEXES.get(row["sex"] or "", "unknown"), weight_kg=row["weight_kg"])
    ]  # fmt: skip
    if end is not None:
        if end < start:
            raise InputError("bad_time", "discharged_at: expected a time not before admitted_at")
        events.append(Encounter(**ids, event="discharged", at=end, available_at=end))
    return events


def _is_ndjson(path: Path) -> bool:
    return kind_of(path) in (".ndjson", ".jsonl")


def _blank(column: str) -> pl.Expr:
    return pl.col(column).is_null() | (pl.col(column) == "")
