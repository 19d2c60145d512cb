"""Spark and local replay give the same files, byte for byte but for what the run itself cost."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from detector.clock import HOUR
from detector.events import Encounter, Observation
from pipelines.formats.canonical import decode, encode

OF_THE_RUN = ("run", "rows_per_second", "seconds", "peak_memory_mb")


def itbwatch(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pipelines", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)


@pytest.fixture(scope="module")
def ward(tmp_path_factory: pytest.TempPathFactory) -> list[object]:
    """A simulated ward in which one patient turns out to be another, as the words that name its files."""
    folder = tmp_path_factory.mktemp("simulated") / "ward"
    done = itbwatch("simulate", "--beds", 6, "--days", 2, "--published-case", "--out", folder)
    assert (0, "") == (done.returncode, done.stderr)
    events = [decode(line) for line in (folder / "ward.ndjson").read_bytes().splitlines()]
    ids = sorted({event.patient_id for event in events if isinstance(event, Observation)})
    mine = [event.available_at for event in events if isinstance(event, Observation) and event.patient_id == ids[0]]
    at = max(mine) - 12 * HOUR  # while both have open alerts
    merge = Encounter(patient_id=ids[0], stay_id="m", event="merged", at=at, available_at=at, into=ids[-1])
    merged = folder / "merged.ndjson"
    merged.write_bytes(encode(merge) + b"\n")
    tables = ["--stays", folder / "stays.parquet", "--pumps", folder / "pumps.ndjson"]
    return [folder / "observations.parquet", merged, *tables, "--context", folder / "context.ndjson"]


def configured(folder: Path, **spark: object) -> Path:
    path = folder / "config.yaml"
    path.write_text(json.dumps({"spark": {"options": {"spark.driver.memory": "1g"}, **spark}}))  # JSON is YAML
    return path


def replayed(folder: Path, *words: object) -> tuple[bytes, dict[str, object], list[bytes]]:
    """The alerts, the summary without what the run cost, and the pages."""
    done = itbwatch("replay", *words, "--out", folder / "out")
    assert 0 == done.returncode, done.stderr
    summary = json.loads((folder / "out" / "summary.json").read_bytes())
    pages = [page.read_bytes() for page in sorted((folder / "out" / "report").iterdir())]
    plain = {name: value for name, value in summary.items() if name not in OF_THE_RUN}
    return (folder / "out" / "alerts.parquet").read_bytes(), plain, pages


@pytest.mark.slow
def test_spark_gives_the_records_of_a_local_replay_byte_for_byte(spark: None, ward: list[object], tmp_path: Path):
    for name in ("local", "spark"):
        (tmp_path / name).mkdir()
    local = replayed(tmp_path / "local", *ward)
    config = configured(tmp_path)
    wide = replayed(tmp_path / "spark", *ward, "--engine", "spark", "--workers", 2, "--config", config)

    assert int(str(local[1]["records"])) > 10
    assert local == wide


def test_without_pyspark_one_line_names_the_extra_and_nothing_is_written(tmp_path: Path):
    (tmp_path / "rows.csv").write_text("patient_id,code,value,effective_at\n")
    hidden = "import sys; sys.modules['pyspark'] = None; from pipelines.__main__ import main; main()"
    words = ["replay", tmp_path / "rows.csv", "--engine", "spark", "--out", tmp_path / "out"]
    done = subprocess.run(
        [sys.executable, "-c", hidden, *map(str, words)], capture_output=True, text=True, timeout=60, check=False
    )

    assert 2 == done.returncode
    assert done.stderr.startswith("--engine spark: pyspark is not installed; expected the extra [spark];")
    assert 1 == done.stderr.count("\n")
    assert not (tmp_path / "out").exists()


def test_a_spark_that_does_not_start_is_one_line_with_the_master_that_was_asked_for(spark: None, tmp_path: Path):
    (tmp_path / "rows.ndjson").write_bytes(
        encode(Observation(patient_id="a", code="temp", value=37.0, unit="Cel", effective_at=0, available_at=0)) + b"\n"
    )
    config = configured(tmp_path, master="nowhere")
    words = ["replay", tmp_path / "rows.ndjson", "--engine", "spark", "--config", config, "--out", tmp_path / "out"]
    done = itbwatch(*words)

    assert 2 == done.returncode
    assert "--engine spark: Spark did not start" in done.stderr
    assert "'nowhere'" in done.stderr
    assert not (tmp_path / "out").exists()
