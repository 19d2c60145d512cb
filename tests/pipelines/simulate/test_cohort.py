import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from detector.errors import InputError
from detector.events import Pump
from pipelines.datasets import open_dataset
from pipelines.simulate.artefacts import spoil
from pipelines.simulate.backgrounds import Background, split, synthetic_backgrounds, unsuitable
from pipelines.simulate.cohort import FILES, build, write
from pipelines.simulate.rows import record_of

CASES = [("withdrawal", "full_blown"), ("septic_shock", None), ("probe_off", None), ("haemolysis", None)]


@pytest.fixture(scope="session")
def stays() -> list[Background]:
    return [one for one in synthetic_backgrounds(12, seed=9) if unsuitable(one) is None]


def itbwatch(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pipelines", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


# -- artefacts


def spoilt(stays: list[Background], kind: str) -> list[tuple[pl.DataFrame, list]]:
    out = []
    for background in stays:
        for draw in range(6):
            made = spoil(background, kind, seed=1, draw=draw)
            was = background.observations.with_columns(pl.col("value").alias("was"))
            keys = ["code", "effective_at", "available_at"]
            joined = made.observations.join(was.select(*keys, "was"), on=keys, how="left")
            out.append((joined.filter(pl.col("value") != pl.col("was")), made.flagged))
    return out


def test_a_probe_that_fell_off_cools_to_the_room_or_is_too_hot_once(stays: list[Background]) -> None:
    made = spoilt(stays, "probe_off")
    hot = [table for table, _ in made if len(table) and table["value"].max() > 40]
    cold = [table for table, _ in made if len(table) and table["value"].min() < 33]

    assert 0.1 < len(hot) / len(made) < 0.6
    assert len(cold) > 0.3 * len(made)
    assert all(1 == table["effective_at"].n_unique() for table in hot)


def test_a_unit_switch_leaves_the_unit_and_changes_the_number(stays: list[Background]) -> None:
    seen = pl.concat(table.select("code", "value", "was", "unit") for table, _ in spoilt(stays, "unit_switch"))
    temp, creat = seen.filter(pl.col("code") == "8310-5"), seen.filter(pl.col("code") == "2160-0")

    assert len(temp)
    assert len(creat)
    assert ((temp["value"] - (temp["was"] * 1.8 + 32)).abs() < 0.06).all()
    assert ((creat["value"] - creat["was"] * 88.42).abs() < 0.06).all()
    assert {"mg/dL"} == {*creat["unit"]}


def test_a_correction_brings_the_right_value_back_under_the_same_id(stays: list[Background]) -> None:
    for background in stays:
        made = spoil(background, "correction", seed=2).observations
        wrong, right = made.filter(pl.col("observation_id").is_not_null()).sort("available_at").iter_rows(named=True)

        assert ("final", "corrected") == (wrong["status"], right["status"])
        assert wrong["observation_id"] == right["observation_id"]
        assert wrong["value"] != right["value"]
        assert right["value"] in set(
            background.observations.filter(pl.col("effective_at") == right["effective_at"])["value"]
        )


def test_haemolysis_is_flagged_and_raises_potassium(stays: list[Background]) -> None:
    for background in stays:
        made = spoil(background, "haemolysis", seed=2)
        potassium = [one for one in made.flagged if one.code == "2823-3"]
        was = record_of(background.observations)

        assert potassium
        assert all(("hemolyzed",) == one.flags for one in made.flagged)
        for one in potassium:
            before = was.value[was.of("k") & (was.at == one.effective_at)]
            assert one.value is not None
            assert one.value > before.min()
        assert len(made.flagged) + len(made.observations) >= len(background.observations)


# -- cohorts


def test_a_cohort_is_the_same_in_memory_and_in_files(stays: list[Background], tmp_path: Path) -> None:
    cohort = build(stays, 2, seed=3, cases=CASES)
    write(cohort, tmp_path / "out")
    again = open_dataset(
        "canonical", [tmp_path / "out" / "observations.parquet", tmp_path / "out" / "flagged.ndjson"],
        stays=tmp_path / "out" / "stays.parquet", pumps=str(tmp_path / "out" / "pumps.ndjson"),
        context=tmp_path / "out" / "context.ndjson",
    )  # fmt: skip
    here = cohort.dataset()

    assert {*FILES} == {path.name for path in (tmp_path / "out").iterdir()}
    assert not again.rejected["observations", "bad_value"]
    columns = ["patient_id", "stay_id", "code", "value", "unit", "effective_at", "available_at", "status", "source"]
    mine, theirs = (one.observations.select(columns).sort(columns) for one in (here, again))
    told = pl.col("value").is_not_null()
    assert mine.filter(told).equals(theirs.filter(told))
    assert sorted(type(one).__name__ for _, one in here.others) == sorted(type(one).__name__ for _, one in again.others)


def test_every_stay_has_a_pump_before_anything_else_and_no_word_of_its_failure(stays: list[Background]) -> None:
    dataset = build(stays, 2, seed=3, cases=CASES).dataset()
    first = dict(dataset.observations.group_by("patient_id").agg(pl.col("available_at").min()).iter_rows())
    pumps = [one for _, one in dataset.others if isinstance(one, Pump)]

    assert {*first} == {one.patient_id for one in pumps}
    assert {"implanted"} == {one.event for one in pumps}
    assert all(one.available_at <= first[one.patient_id] for one in pumps)


def test_no_patient_is_in_two_parts_and_ids_are_distinct(stays: list[Background]) -> None:
    parts = {part: build(stays, 1, seed=3, part=part, cases=CASES[:2]) for part in ("train", "test")}
    origins = {part: {truth.twin_of for truth in cohort.truth} for part, cohort in parts.items()}

    assert not origins["train"] & origins["test"]
    for cohort in parts.values():
        assert len(cohort.truth) == len({truth.stay_id for truth in cohort.truth})
        assert len(cohort.truth) == len({truth.patient_id for truth in cohort.truth})
    assert {"train"} == {split(one.patient_id, 3) for one in stays if one.stay_id in origins["train"]}


def test_more_courses_than_stays_start_again_with_other_draws(stays: list[Background]) -> None:
    cohort = build(stays[:2], 5, seed=3, cases=CASES[:1], twins=False)

    assert 5 == len({truth.stay_id for truth in cohort.truth})
    assert 5 == len({(truth.twin_of, truth.onset_at) for truth in cohort.truth})


def test_a_part_without_a_usable_stay_is_refused(stays: list[Background]) -> None:
    with pytest.raises(InputError, match="no stay of the part 'tune' can carry a course; expected 30 h"):
        build([one for one in stays if split(one.patient_id, 3) != "tune"], 1, seed=3, part="tune")


def test_the_real_stays_make_a_cohort_that_replays(shared: Path, tmp_path: Path) -> None:
    folder = shared / "data" / "canonical"
    done = itbwatch(
        "simulate", "--courses", 1, "--kinds", "withdrawal,isolated_fever", "--part", "tune", "--out", tmp_path / "out",
        "--inject", folder / "mimic_iii_demo.observations.parquet", "--stays", folder / "mimic_iii_demo.stays.parquet",
    )  # fmt: skip

    assert (0, "") == (done.returncode, done.stderr)
    truth = pl.read_parquet(tmp_path / "out" / "truth.parquet")
    assert {"withdrawal", "isolated_fever", "background"} == {*truth["kind"]}
    assert truth.filter(pl.col("kind") == "withdrawal")["severity"].to_list() == ["mild", "moderate", "full_blown"]


# -- the command


def test_the_command_injects_into_synthetic_stays(tmp_path: Path) -> None:
    done = itbwatch("simulate", "--courses", 1, "--beds", 4, "--seed", 5, "--out", tmp_path / "out")

    assert (0, "") == (done.returncode, done.stderr)
    assert "source: synthetic" in done.stdout
    assert {"synthetic"} == {*pl.read_parquet(tmp_path / "out" / "observations.parquet")["source"]}


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--kinds", "sepsis"], 2, "--kinds: given without --courses"),
        (["--courses", "1", "--kinds", "sepsi"], 2, "did you mean 'sepsis'?"),
        (["--courses", "1", "--stays", "s.parquet"], 2, "given without --inject"),
        (["--courses", "1", "--inject", "nowhere.parquet"], 2, "no such file"),
        (["--courses", "0"], 2, "Invalid value for '--courses'"),
        (["--courses", "1", "--beds", "1", "--part", "tune", "--seed", "1"], 65, "can carry a course"),
    ],
)
def test_a_wrong_use_is_one_clear_line(words: list[str], code: int, said: str, tmp_path: Path) -> None:
    done = itbwatch("simulate", *words, "--out", tmp_path / "out")

    assert code == done.returncode
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_file_in_the_place_of_the_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    done = itbwatch("simulate", "--courses", "1", "--out", tmp_path / "out")

    assert (2, True) == (done.returncode, "is a file; expected a folder" in done.stderr)
