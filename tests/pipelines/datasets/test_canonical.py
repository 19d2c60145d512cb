from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from detector.clock import from_datetime
from detector.errors import ConfigError
from detector.events import Context, Encounter, Observation, Pump
from pipelines.dataset import Dataset, InputRefused
from pipelines.datasets import FORMATS, open_dataset
from pipelines.settings import Settings

AT = datetime(2150, 3, 1, 8, 5, tzinfo=UTC)
ROW: dict[str, Any] = {
    "patient_id": "p1", "stay_id": "s1", "code": "hr", "value": 80.0, "value_text": None, "unit": "/min",
    "effective_at": AT, "available_at": AT, "status": "final", "observation_id": None,
}  # fmt: skip
SCHEMA = {
    **dict.fromkeys(ROW, pl.String), "value": pl.Float64, "effective_at": pl.Datetime("us", "UTC"), "available_at": pl.Datetime("us", "UTC"),
}  # fmt: skip


@pytest.fixture
def table(tmp_path: Path) -> Callable[..., Path]:
    """Write rows that differ from ROW as named; ``table({}, {"value": None})``."""

    def write(*rows: dict[str, Any], name: str = "observations.parquet", schema: dict[str, Any] = SCHEMA) -> Path:
        frame = pl.DataFrame([ROW | row for row in rows], schema=schema)
        path = tmp_path / name
        frame.write_parquet(path) if path.suffix == ".parquet" else frame.write_csv(path)
        return path

    return write


def read(*inputs: Path, stays: Path | None = None, pumps: str | None = None, context: Path | None = None) -> Dataset:
    return open_dataset("canonical", inputs, stays=stays, pumps=pumps, context=context)


def observations(dataset: Dataset) -> list[Observation]:
    return [event for event in dataset.in_order() if isinstance(event, Observation)]


def test_canonical_is_a_format() -> None:
    assert "canonical" in FORMATS


def test_a_row_becomes_an_observation_with_its_position(table: Callable[..., Path]) -> None:
    [seen] = observations(read(table({})))

    at = from_datetime(AT)
    assert ("p1", "s1", "hr", 80.0, "/min", at, at) == (
        seen.patient_id, seen.stay_id, seen.code, seen.value, seen.unit, seen.effective_at, seen.available_at,
    )  # fmt: skip
    assert ("observations.parquet", 0, 0) == seen.position


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"patient_id": None}, "missing_key"),
        ({"patient_id": ""}, "missing_key"),
        ({"patient_id": "a\nb"}, "bad_identity"),
        ({"code": None}, "missing_key"),
        ({"effective_at": None}, "bad_time"),
        ({"effective_at": datetime(1800, 1, 1, tzinfo=UTC)}, "bad_time"),
        ({"available_at": datetime(2301, 1, 1, tzinfo=UTC)}, "bad_time"),
        ({"value": float("nan")}, "not_finite"),
        ({"value": float("inf")}, "not_finite"),
        ({"value": None}, "no_value"),
        ({"value": None, "value_text": ""}, "no_value"),
        ({"status": "finished"}, "bad_value"),
    ],
)
def test_a_row_that_cannot_be_an_event_is_counted_and_its_neighbours_are_read(
    table: Callable[..., Path], wrong: dict[str, Any], reason: str
) -> None:
    dataset = read(table({}, wrong, {"code": "map"}))

    assert ["hr", "map"] == [seen.code for seen in observations(dataset)]
    assert {("observations", reason): 1} == dict(dataset.rejected)


def test_a_cancelled_row_needs_no_value(table: Callable[..., Path]) -> None:
    assert 1 == len(observations(read(table({"value": None, "status": "cancelled"}))))


def test_without_available_at_a_reading_is_available_when_it_was_measured(table: Callable[..., Path]) -> None:
    [seen] = observations(read(table({"available_at": None})))

    assert seen.effective_at == seen.available_at


def test_ids_that_became_numbers_are_read_as_whole_ones(table: Callable[..., Path]) -> None:
    schema = SCHEMA | {"patient_id": pl.Int64, "stay_id": pl.Float64}
    [seen] = observations(read(table({"patient_id": 7, "stay_id": 254635.0}, schema=schema)))

    assert ("7", "254635") == (seen.patient_id, seen.stay_id)


def test_csv_and_parquet_give_the_same_events(table: Callable[..., Path]) -> None:
    rows: list[dict[str, Any]] = [{}, {"value": None, "value_text": "NotDone"}, {"value": 81.5, "unit": None}]
    wide, text = read(table(*rows)), read(table(*rows, name="o.csv"))

    assert [seen.value for seen in observations(wide)] == [seen.value for seen in observations(text)]
    assert [seen.effective_at for seen in observations(wide)] == [seen.effective_at for seen in observations(text)]


def test_a_csv_cell_that_is_no_number_or_time_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "o.csv"
    path.write_text(
        "patient_id,code,value,effective_at\n"
        "p,hr,80,2150-03-01T08:05:00Z\np,hr,eighty,2150-03-01T08:05:00Z\np,hr,80,yesterday\np,hr,80,2150-03-01 08:05:00\n"
    )

    dataset = read(path)

    assert [from_datetime(AT)] * 2 == [seen.effective_at for seen in observations(dataset)]
    assert {("observations", "wrong_type"): 1, ("observations", "bad_time"): 1} == dict(dataset.rejected)


def test_ndjson_holds_every_type_of_event_and_its_bad_lines_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "ward.ndjson"
    path.write_text(
        '{"type":"encounter","patient_id":"p","stay_id":"s","event":"admitted","at":"2150-03-01T08:00:00Z"}\n'
        '{"patient_id":"p","code":"hr","value":80,"effective_at":"2150-03-01T08:05:00Z"}\n'
        '{"patient_id":"p","code":"hr","value":80,"effective_at":"2150-03-01T08:05:00"}\n'
        "not json\n\n"
        '{"type":"time","at":"2150-03-03T08:00:00Z"}\n'
    )

    dataset = read(path)

    assert [Encounter, Observation] == [type(event) for event in dataset.in_order()]
    assert {("observations", "naive_time"): 1, ("observations", "json"): 1} == dict(dataset.rejected)


def test_stays_become_admissions_and_discharges(table: Callable[..., Path], tmp_path: Path) -> None:
    stays = tmp_path / "stays.csv"
    stays.write_text(
        "stay_id,patient_id,admitted_at,discharged_at,unit,age_years,sex,weight_kg\n"
        "s1,p1,2150-03-01T08:00:00Z,2150-03-02T08:00:00Z,MICU,70,F,\n"
        "s2,p2,2150-03-01T08:00:00Z,,SICU,,,\n"
        "s3,p3,2150-03-01T08:00:00Z,2150-02-01T08:00:00Z,,,,\n"
        ",p4,2150-03-01T08:00:00Z,,,,,\n"
    )

    dataset = read(table({}), stays=stays)

    encounters = [event for event in dataset.in_order() if isinstance(event, Encounter)]
    assert [("p1", "admitted"), ("p2", "admitted"), ("p1", "discharged")] == [
        (e.patient_id, e.event) for e in encounters
    ]
    assert ("MICU", 70.0, "female", None) == (
        encounters[0].unit, encounters[0].age_years, encounters[0].sex, encounters[0].weight_kg,
    )  # fmt: skip
    assert {("encounters", "bad_time"): 1, ("encounters", "missing_key"): 1} == dict(dataset.rejected)


def site(codes_of: str | None) -> Settings:
    maps = {"observations": {"LAB1": {"signal": "ck"}}, "encounters": {"LAB2": {"signal": "ast"}}}
    return Settings.model_validate({"kafka": {"code_maps": maps}, "file": {"codes_of": codes_of}})


@pytest.mark.parametrize(
    ("codes_of", "expected"),
    [
        ("observations", {"observations::LAB1", "LAB2", "temp"}),
        ("encounters", {"LAB1", "encounters::LAB2", "temp"}),
        (None, {"LAB1", "LAB2", "temp"}),
    ],
)
def test_inputs_speak_the_codes_of_the_topic_that_is_named(
    table: Callable[..., Path], tmp_path: Path, codes_of: str | None, expected: set[str]
) -> None:
    lines = tmp_path / "lines.ndjson"
    lines.write_bytes(b"".join(
        b'{"type":"observation","patient_id":"p2","code":"%s","value":1,"effective_at":"2149-03-01T08:00:00Z"}\n' % code
        for code in (b"LAB1", b"LAB2")
    ))  # fmt: skip
    files = [table({"code": "LAB1"}, {"code": "LAB2"}, {"code": "temp"}), lines]
    dataset = open_dataset("canonical", files, stays=None, pumps="all", context=None, settings=site(codes_of))

    assert expected == set(dataset.observations["code"])
    assert expected - {"temp"} == {event.code for _, event in dataset.others if isinstance(event, Observation)}
    assert (codes_of is None) == any("file.codes_of names no topic" in remark for remark in dataset.remarks)


def test_type_may_be_left_out_in_pump_and_context_files(table: Callable[..., Path], tmp_path: Path) -> None:
    pumps, context = tmp_path / "pumps.ndjson", tmp_path / "context.ndjson"
    pumps.write_text('{"patient_id":"p1","event":"implanted","at":"2149-03-01T08:00:00Z"}\n')
    context.write_text('{"patient_id":"p1","kind":"spasticity","event":"noted","at":"2150-03-01T08:00:00Z"}\n')

    dataset = read(table({}, {"patient_id": "p2"}), pumps=str(pumps), context=context)

    assert {("p1", "implanted"), ("p2", "absent")} == {
        (event.patient_id, event.event) for event in dataset.in_order() if isinstance(event, Pump)
    }
    assert 1 == sum(isinstance(event, Context) for event in dataset.in_order())


def test_a_file_that_is_no_parquet_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    path.write_bytes(b"not a parquet file")

    with pytest.raises(InputRefused, match=r"x\.parquet: no readable Parquet file"):
        read(path)


def test_a_missing_column_is_named_with_those_expected(table: Callable[..., Path], tmp_path: Path) -> None:
    path = tmp_path / "y.parquet"
    pl.read_parquet(table({})).rename({"value": "valeu"}).write_parquet(path)

    with pytest.raises(InputRefused, match=r"y\.parquet: no column 'value'; expected .*did you mean 'valeu'"):
        read(path)


def test_a_table_with_rows_of_which_none_can_be_used_is_refused(table: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(InputRefused, match=r"none of its 2 rows can be used \(missing_key 2\)"):
        read(table({"patient_id": None}, {"code": ""}))

    stays = tmp_path / "stays.csv"
    stays.write_text("stay_id,patient_id,admitted_at\ns,p,yesterday\n")
    with pytest.raises(InputRefused, match=r"stays\.csv: none of its 1 rows can be used \(bad_time 1\)"):
        read(table({}), stays=stays)


WARD = (
    '{"type":"pump","patient_id":"p1","event":"implanted","at":"2149-03-01T08:00:00Z"}\n'
    '{"type":"pump","patient_id":"p2","event":"implanted","at":"2149-03-01T08:00:00Z"}\n'
    '{"type":"context","patient_id":"p2","kind":"fall","event":"noted","at":"2150-03-01T08:00:00Z"}\n'
)


def pumps_of(dataset: Dataset) -> set[tuple[str, str]]:
    return {(event.patient_id, event.event) for event in dataset.in_order() if isinstance(event, Pump)}


def test_what_is_said_of_pumps_on_the_command_line_overrides_what_the_inputs_say(tmp_path: Path) -> None:
    ward, file = tmp_path / "ward.ndjson", tmp_path / "pumps.ndjson"
    ward.write_text(WARD)
    file.write_text(
        '{"patient_id":"p1","event":"interrogated","result":"ok","at":"2149-03-01T08:00:00Z"}\n'
        '{"type":"context","patient_id":"p2","kind":"fall","event":"noted","at":"2150-03-01T08:00:00Z"}\n'
    )

    assert {("p1", "implanted"), ("p2", "implanted")} == pumps_of(read(ward))
    assert {("p2", "absent")} == pumps_of(read(ward, pumps="none"))
    assert {("p1", "interrogated"), ("p2", "absent")} == pumps_of(dataset := read(ward, pumps=str(file)))
    assert {("pumps", "overridden"): 2, ("pumps", "wrong_topic"): 1} == dict(dataset.rejected)


def test_pumps_for_all_are_declared_though_a_row_lies_in_the_first_year_there_is(table: Callable[..., Path]) -> None:
    first = datetime(1900, 2, 1, tzinfo=UTC)
    dataset = read(table({"effective_at": first, "available_at": first}, {"patient_id": "p2"}), pumps="all")

    assert {("p1", "implanted"), ("p2", "implanted")} == pumps_of(dataset)


def test_a_word_for_pumps_that_is_neither_all_nor_none_nor_a_file_is_told_the_nearest(
    table: Callable[..., Path],
) -> None:
    with pytest.raises(ConfigError, match=r"--pumps 'al': no such file; expected all, none, .*did you mean 'all'"):
        read(table({}), pumps="al")


def test_a_folder_in_the_place_of_a_table_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is a folder; expected a file"):
        read(tmp_path)


def test_a_missing_file_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"z\.parquet: no such file"):
        read(tmp_path / "z.parquet")


def test_lines_of_which_none_is_an_event_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "pumps.ndjson"
    path.write_text("hello\n")

    with pytest.raises(InputRefused, match=r"pumps\.ndjson: none of its 1 lines"):
        read(path)


def test_an_unknown_kind_of_table_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "o.xlsx"
    path.write_text("")

    with pytest.raises(InputRefused, match=r"unknown kind of table '\.xlsx'"):
        read(path)


def test_no_corrupt_parquet_file_is_read_or_ends_the_process(shared: Path) -> None:
    paths = sorted((shared / "corpora" / "parquet-bad").rglob("*.parquet"))

    assert len(paths) > 20
    for path in paths:
        with pytest.raises(InputRefused, match=path.name.replace(".", r"\.")):
            read(path)


def test_the_open_icu_data_are_read_whole(shared: Path) -> None:
    folder = shared / "data" / "canonical"
    dataset = read(folder / "mimic_iii_demo.observations.parquet", stays=folder / "mimic_iii_demo.stays.parquet")

    assert 135_708 + 2 * 136 == len(dataset) + dataset.rejected.total()
    assert {("observations", "no_value"): 125} == dict(dataset.rejected)
