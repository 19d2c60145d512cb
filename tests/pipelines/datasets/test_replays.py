"""Each open sample replays by its own format, and one that cannot leaves one line and nothing else."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from detector.events import Encounter
from pipelines.datasets import open_dataset
from pipelines.replay import replay
from pipelines.settings import Settings


def itbwatch(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pipelines", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)


@pytest.mark.parametrize(
    ("name", "folder", "stays", "missing"),
    [
        ("mimic-iv", "mimic-iv-demo-2.2-sample", 29, "chartevents"),
        ("meds", "mimic-iv-demo-meds-0.0.1-sample", 15, None),
    ],
)
def test_a_sample_replays_from_the_command_line_and_says_what_was_not_there(
    shared: Path, tmp_path: Path, name: str, folder: str, stays: int, missing: str | None
) -> None:
    done = itbwatch(
        "replay", "--format", name, shared / "data" / "raw" / folder, "--pumps", "all", "--out", tmp_path / "o"
    )

    assert (0, "") == (done.returncode, done.stderr)
    summary = json.loads((tmp_path / "o" / "summary.json").read_bytes())
    assert stays == summary["stays"]
    assert summary["rejected"]["observations"]["other_item"] > 10_000
    assert (missing is not None) == any(str(missing) in remark for remark in summary["run"]["remarks"])


@pytest.mark.parametrize(
    ("name", "folder"), [("eicu", "eicu-crd-demo-2.0.1-part"), ("mimic-iii", "mimic-iii-demo-1.4")]
)
def test_stays_of_a_large_sample_replay(shared: Path, name: str, folder: str) -> None:
    dataset = open_dataset(name, [shared / "data" / "raw" / folder], stays=None, pumps="all", context=None)
    few = [patient for patient, rows in dataset.rows_by_patient().items() if 200 < rows < 400][:5]
    some = dataset.of(few)
    admitted = {e.stay_id for _, e in some.others if isinstance(e, Encounter)}

    outcome = replay(some, Settings())

    assert 5 == len(few)
    assert len(some) == outcome.events
    assert admitted == {stay.stay_id for stay in outcome.stays}
    assert outcome.events > 1_000


@pytest.mark.parametrize("command", ["replay", "check"])
def test_a_set_that_cannot_be_read_gives_one_line_65_and_no_output(tmp_path: Path, command: str) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "measurement.csv").write_text(
        "person_id,measurement_concept,measurement_datetime,value_as_number\n"
    )
    out = ["--out", tmp_path / "out"] if command == "replay" else []

    done = itbwatch(command, "--format", "omop", tmp_path / "set", *out)

    assert 65 == done.returncode
    assert 1 == len(done.stderr.splitlines())
    assert "measurement.csv: no column 'measurement_concept_id'" in done.stderr
    assert "did you mean 'measurement_concept'?" in done.stderr
    assert ["set"] == [path.name for path in tmp_path.iterdir()]
